"""Ways to make a new version of many updates. The coordinator knows these interfaces only.

Another algorithm is a file beside this one and a line in `ALGORITHMS`. A server optimizer (FedAvgM, FedAdam) walks over
`ExactMean.pieces`, reads the base and its state at the same place, and writes both anew: it sets ``keeps_state``. A robust rule (median,
Krum) collects the `UpdateFile` objects and reads them in `Aggregation.finish`, ordered by worker: it sets ``keeps_updates``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fedcore.aggregation.fedavg import FedAvg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcore.aggregation.check import Checked
    from fedcore.aggregation.version import BaseVersion, StoredFile, UpdateFile, Write
    from fedcore.aggregation.workspace import Workspace

__all__ = ["ALGORITHMS", "Aggregation", "Algorithm"]


class Aggregation(Protocol):
    """One open round. Used from one thread at a time."""

    def add(self, *updates: UpdateFile) -> None:
        """Count updates, in any order of arrival; the result does not depend on it.

        Unless the algorithm ``keeps_updates``, their files are free when this returns.

        Raises
        ------
        UpdateRefused
            An update should not have passed the checks; nothing was added.
        """

    def finish(self, write: Write, write_state: Write | None = None, *, last: Sequence[UpdateFile] = ()) -> Checked:
        """Write the new version, a complete safetensors file, piece by piece, and return what a check of it would find.

        Parameters
        ----------
        write : callable
            Takes the next bytes.
        write_state : callable, optional
            The same for the file that is handed to `Algorithm.begin` in the next round. Given if the algorithm ``keeps_state``.
        last : sequence of UpdateFile
            Updates that have not been added yet: they count like the others, and may be added in the same pass.

        Raises
        ------
        NoUpdates
            Nothing was added; nothing was written.
        """


class Algorithm(Protocol):
    """One entry of ``spec.aggregation.algorithm``."""

    @property
    def name(self) -> str:
        """The entry's word in the job file."""

    @property
    def keeps_updates(self) -> bool:
        """Whether the files of added updates must stay until `Aggregation.finish` has returned."""

    @property
    def keeps_state(self) -> bool:
        """Whether a state file belongs to each version, in the checkpoint beside it."""

    def check_parameters(self, parameters: Mapping[str, str]) -> list[str]:
        """Return what is wrong with ``spec.aggregation.parameters``, one sentence each, starting with the parameter's name."""

    def min_updates(self, parameters: Mapping[str, str]) -> int:
        """Return the smallest number of updates this can work with; the job's quorum must not be below it."""

    def begin(
        self, base: BaseVersion, parameters: Mapping[str, str], state: StoredFile | None = None, workspace: Workspace | None = None
    ) -> Aggregation:
        """Open a round on ``base``.

        Parameters
        ----------
        base : BaseVersion
            Readable until `Aggregation.finish` has returned.
        parameters : mapping
            Checked.
        state : StoredFile, optional
            What the round before wrote through ``write_state``; None in the first.
        workspace : Workspace, optional
            Memory and threads, the same in each round: the round before is then over.

        Raises
        ------
        UnsupportedTensor
            The model has a tensor that this algorithm cannot take.
        """


ALGORITHMS: dict[str, Algorithm] = {algorithm.name: algorithm for algorithm in (FedAvg(),)}
"""By the word in the job file."""
