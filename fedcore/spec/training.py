"""What is trained, how much in a round, and how the updates become a version."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from fedcore.aggregation.registry import ALGORITHMS
from fedcore.spec.model import WEEK, Model, Name, broken, rule, rules

__all__ = ["Aggregation", "Evaluation", "Quorum", "Task", "Workload"]


_NAMES = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
_ENTRYPOINT = rf"^{_NAMES}:{_NAMES}$"
"""For the API server, whose patterns know no letters beyond ASCII."""


def _entrypoint(value: str) -> str:
    module, colon, attribute = value.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise ValueError(f'"{value}" is no entrypoint; allowed: module:attribute, such as fedcore.tasks.mnist:task')
    return value


def _algorithm(value: str) -> str:
    if value not in ALGORITHMS:
        raise ValueError(f'"{value}" is unknown; allowed: {", ".join(ALGORITHMS)}')
    return value


class Task(Model):
    """What the workers train."""

    entrypoint: Annotated[str, Field(max_length=256, json_schema_extra={"pattern": _ENTRYPOINT}), AfterValidator(_entrypoint)]
    """Python import path in the worker's image, ``module:attribute``: a callable that makes the task."""
    parameters: dict[Name, Annotated[str, Field(max_length=4096)]] = Field({}, max_length=64)
    """Free strings handed to the task; no ML schema is frozen in the API."""
    initial_weights: str | None = Field(None, min_length=1, max_length=512)
    """Path of a safetensors file as the coordinator sees it; unset: the lowest live worker makes the first weights."""


class Workload(Model):
    """How much each worker trains in a round."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.minEpochs <= self.epochs && (!has(self.maxEpochs) || self.epochs <= self.maxEpochs)",
                "epochs must lie between minEpochs and maxEpochs",
            )
        )
    )

    policy: Literal["aimd", "deadline", "fixed"] = "aimd"
    """``fixed``: the same for all. ``aimd``: takes work from stragglers and gives it back. ``deadline``: fitted to measured pace."""
    epochs: float = Field(1.0, ge=0.01, le=1000)
    """Passes over the local data per round, fractions allowed."""
    min_epochs: float = Field(0.1, ge=0.01, le=1000)
    """Least that a policy gives. 0.1: below it a round trip is mostly transfer."""
    max_epochs: float | None = Field(None, ge=0.01, le=1000)
    """Most that a policy gives; unset: ``epochs``, so that a policy only ever takes work away and gives it back."""
    increment: float = Field(0.25, ge=0.01, le=10)
    """Epochs that ``aimd`` adds after a round in time."""
    quantile: float = Field(0.5, ge=0.05, le=1)
    """Whose arrival ``deadline`` aims at: 0.5 is the median worker's."""

    @property
    def ceiling(self) -> float:
        """The effective ``maxEpochs``."""
        return self.epochs if self.max_epochs is None else self.max_epochs

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_epochs > self.epochs:
            at = "minEpochs" if "min_epochs" in self.model_fields_set else "epochs"
            text = f"minEpochs ({self.min_epochs:g}) is above epochs ({self.epochs:g}); allowed: minEpochs <= epochs <= maxEpochs"
            raise broken((at, text))
        if self.max_epochs is not None and self.epochs > self.max_epochs:
            raise broken(("maxEpochs", f"{self.max_epochs:g} is below epochs ({self.epochs:g}); allowed: minEpochs <= epochs <= maxEpochs"))
        return self


class Evaluation(Model):
    """When the averaged model is measured."""

    every_rounds: int = Field(1, ge=0, le=10_000)
    """Workers measure each n-th version on their held-out data; 0: only the last one."""


class Quorum(Model):
    """How many updates close a round, and how long to wait for them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.graceSeconds) || self.graceSeconds <= self.roundTimeoutSeconds",
                "graceSeconds must not be above roundTimeoutSeconds",
            )
        )
    )

    percent: int = Field(75, ge=1, le=100)
    """Share of the declared workers; required = max(minWorkers, ceil(percent x replicas / 100))."""
    min_workers: int = Field(1, ge=1, le=1000)
    """Floor of required."""
    grace_seconds: int | None = Field(None, ge=0, le=3600)
    """How long a round with quorum still waits for the rest; unset: a quarter of the time quorum took, at least 1 s; 0: not at all."""
    round_timeout_seconds: int = Field(600, ge=1, le=WEEK)
    """Deadline of a round; below quorum it is armed anew, and the loss clock starts."""
    loss_grace_period_seconds: int = Field(900, ge=0, le=WEEK)
    """Below quorum for longer than this ends the job as QuorumLost; 0 waits for ever."""

    @model_validator(mode="after")
    def _grace_fits(self) -> Self:
        if self.grace_seconds is not None and self.grace_seconds > self.round_timeout_seconds:
            limit = f"roundTimeoutSeconds ({self.round_timeout_seconds})"
            text = f"{self.grace_seconds} is above {limit}; allowed: graceSeconds <= roundTimeoutSeconds"
            raise broken(("graceSeconds", text))
        return self


class Aggregation(Model):
    """How updates become the next version."""

    algorithm: Annotated[str, AfterValidator(_algorithm)] = Field("fedavg", json_schema_extra={"enum": [*ALGORITHMS]})
    """``fedavg``: the mean weighted by samples, exact and independent of the order of arrival."""
    parameters: dict[Name, Annotated[str, Field(max_length=256)]] = Field({}, max_length=16)
    """Of the algorithm, which checks its own."""

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        problems = ALGORITHMS[self.algorithm].check_parameters(self.parameters)
        if problems:
            raise broken(*(("parameters", problem) for problem in problems))
        return self
