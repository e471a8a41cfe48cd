"""Checks of updates, and their exact mean. Pure: files come in as callables, nothing here opens, waits or looks at a clock."""

from fedcore.aggregation.check import LONG_PIECE_BYTES, PIECE_BYTES, Checked, Rejected, UpdateCheck, check_file
from fedcore.aggregation.dtypes import UnsupportedTensor, require_supported
from fedcore.aggregation.exact import ExactMean, NoUpdates, UpdateRefused
from fedcore.aggregation.grid import MAX_UPDATES, Grid, out_of_range
from fedcore.aggregation.layout import InvalidHeader, Layout, Tensor
from fedcore.aggregation.registry import ALGORITHMS, Aggregation, Algorithm
from fedcore.aggregation.version import BaseVersion, StoredFile, UpdateFile
from fedcore.aggregation.workspace import Workspace

__all__ = [
    "ALGORITHMS",
    "LONG_PIECE_BYTES",
    "MAX_UPDATES",
    "PIECE_BYTES",
    "Aggregation",
    "Algorithm",
    "BaseVersion",
    "Checked",
    "ExactMean",
    "Grid",
    "InvalidHeader",
    "Layout",
    "NoUpdates",
    "Rejected",
    "StoredFile",
    "Tensor",
    "UnsupportedTensor",
    "UpdateCheck",
    "UpdateFile",
    "UpdateRefused",
    "Workspace",
    "check_file",
    "out_of_range",
    "require_supported",
]
