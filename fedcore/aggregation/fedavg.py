"""Federated averaging: the new version is the mean of the updates, weighted by their samples.

McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017, the server's step of Algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcore.aggregation.exact import ExactMean
from fedcore.aggregation.version import BaseVersion, StoredFile, UpdateFile, VersionWriter, Write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcore.aggregation.check import Checked
    from fedcore.aggregation.workspace import Workspace

__all__ = ["FedAvg"]


class FedAvg:
    """The algorithm ``fedavg``. It has no parameters and no state."""

    name = "fedavg"
    keeps_updates = False
    keeps_state = False

    def check_parameters(self, parameters: Mapping[str, str]) -> list[str]:
        """Refuse every parameter."""
        return [f"{name}: fedavg has no parameters" for name in parameters]

    def min_updates(self, parameters: Mapping[str, str]) -> int:
        """Return 1: a single update is its own mean."""
        del parameters
        return 1

    def begin(
        self, base: BaseVersion, parameters: Mapping[str, str], state: StoredFile | None = None, workspace: Workspace | None = None
    ) -> _Averaging:
        """Open a round."""
        del parameters, state
        return _Averaging(base, workspace)


class _Averaging:
    """One open round of fedavg."""

    def __init__(self, base: BaseVersion, workspace: Workspace | None) -> None:
        self._base = base
        self._mean = ExactMean(base.grid, workspace)

    def add(self, *updates: UpdateFile) -> None:
        self._mean.add(*updates)

    def finish(self, write: Write, write_state: Write | None = None, *, last: Sequence[UpdateFile] = ()) -> Checked:
        del write_state
        pieces = self._mean.pieces(*last)
        writer = VersionWriter(self._base.layout, write)
        for piece in pieces:
            writer.append(piece.index, piece.raw)
        return writer.finish()
