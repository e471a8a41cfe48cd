"""Typed reading of ``spec.task.parameters``.

The API hands a task free strings, so that no schema of machine learning is frozen in it. A typing error among them would otherwise
train the wrong thing for an hour: each value is checked where it is read, and a name nobody read is refused.
"""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["InvalidParameter", "Parameters"]


class InvalidParameter(ValueError):  # noqa: N818  # says what is invalid, as the job model's InvalidJob does
    """A parameter of the task that it does not know or cannot take. The job is invalid: a restart would not help.

    Parameters
    ----------
    name : str
        The parameter, as in ``spec.task.parameters``.
    value : str
        What the job says.
    allowed : str
        What it may say, as a phrase: "a number above 0".
    hint : str or None
        What is wrong, where "is not allowed" says too little.
    """

    def __init__(self, name: str, value: str, allowed: str, hint: str | None = None) -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        super().__init__(f"spec.task.parameters.{name}: {hint or f'{value!r} is not allowed'}; allowed: {allowed}")


class Parameters:
    """Reader of one task's parameters: one call per parameter, then `finish`.

    Examples
    --------
    >>> parameters = Parameters({"learningRate": "0.1", "momentun": "0.9"})
    >>> parameters.number("learningRate", 0.01, above=0)
    0.1
    >>> parameters.number("momentum", 0.0, at_least=0)
    0.0
    >>> parameters.finish()
    Traceback (most recent call last):
    ...
    fedcore.tasks.parameters.InvalidParameter: spec.task.parameters.momentun: unknown parameter, did you mean "momentum"?; \
allowed: learningRate, momentum
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._known: list[str] = []

    def text(self, name: str, default: str) -> str:
        """Return a parameter as it stands."""
        self._known.append(name)
        return self._values.get(name, default)

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """Return one of a few words."""
        value = self.text(name, default)
        if value not in allowed:
            raise InvalidParameter(name, value, " | ".join(allowed))
        return value

    def number(self, name: str, default: float, *, above: float = -math.inf, at_least: float = -math.inf, below: float = math.inf) -> float:
        """Return a finite number within bounds."""
        text = self.text(name, repr(default))
        bounds = _bounds(above=above, at_least=at_least, below=below)
        try:
            value = float(text)
        except ValueError:
            raise InvalidParameter(name, text, f"a number{bounds}") from None
        if not (math.isfinite(value) and above < value < below and value >= at_least):
            raise InvalidParameter(name, text, f"a number{bounds}")
        return value

    def integer(self, name: str, default: int, *, at_least: int, at_most: int | None = None) -> int:
        """Return a whole number within bounds."""
        text = self.text(name, str(default))
        allowed = f"a whole number from {at_least} on" if at_most is None else f"a whole number from {at_least} to {at_most}"
        try:
            value = int(text)
        except ValueError:
            raise InvalidParameter(name, text, allowed) from None
        if value < at_least or (at_most is not None and value > at_most):
            raise InvalidParameter(name, text, allowed)
        return value

    def finish(self) -> None:
        """Refuse the first parameter that was not read.

        Raises
        ------
        InvalidParameter
            Names the one that was probably meant.
        """
        for name, value in self._values.items():
            if name not in self._known:
                near = difflib.get_close_matches(name, self._known, n=1)
                hint = f'unknown parameter, did you mean "{near[0]}"?' if near else "unknown parameter"
                raise InvalidParameter(name, value, ", ".join(self._known) or "none, this task has no parameters", hint)


def _bounds(*, above: float, at_least: float, below: float) -> str:
    words = []
    if math.isfinite(above):
        words.append(f"above {above:g}")
    if math.isfinite(at_least):
        words.append(f"from {at_least:g} on")
    if math.isfinite(below):
        words.append(f"below {below:g}")
    return " " + " and ".join(words) if words else ""
