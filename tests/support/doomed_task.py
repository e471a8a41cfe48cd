"""The task of `drift_task`, with workers whose first attempt ends badly, by itself and in a given round.

Parameter ``fates``: ``INDEX:ROUND:HOW`` each, separated by commas. HOW is ``oom``, for taking more memory than the container may have, or
an exit code.
"""

from __future__ import annotations

import os

from drift_task import Drift


class Doomed(Drift):
    def __init__(self, context):
        super().__init__(context)
        fates = [one.split(":") for one in context.parameters["fates"].split(",")]
        mine = [fate[1:] for fate in fates if int(fate[0]) == context.index]
        self.fate = mine[0] if mine and os.environ["FEDCORE_ATTEMPT"] == "1" else None

    def train(self, weights, work):
        if self.fate is not None and work.round >= int(self.fate[0]):
            if self.fate[1] == "oom":
                _hoard()
            os._exit(int(self.fate[1]))  # as a crash of native code would: nobody can say a last word
        return super().train(weights, work)


def _hoard():
    kept = []
    while True:
        kept.append(b"x" * 2**24)


def task(context):
    return Doomed(context)
