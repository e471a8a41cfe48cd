"""Lines of the libraries: kopf and its like log through the standard library, and their lines are to look like ours."""

from __future__ import annotations

import logging
import os
import traceback
from typing import TYPE_CHECKING

from fedcore.log import Level, log_event

if TYPE_CHECKING:
    from fedcore_operator.api.settings import Settings

__all__ = ["set_up_logs"]


def set_up_logs(settings: Settings) -> None:
    """Let everything that this process logs have the format and the level of the settings."""
    os.environ["FEDCORE_LOG_FORMAT"] = settings.log_format
    os.environ["FEDCORE_LOG_LEVEL"] = settings.log_level
    root = logging.getLogger()
    root.handlers = [_Lines()]
    # At info, kopf tells each watch that ends and begins anew, as it does every five minutes; events of ours tell what matters.
    root.setLevel(logging.DEBUG if settings.log_level == "debug" else logging.WARNING)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # two lines for each event of a watch, all alike


class _Lines(logging.Handler):
    """Writes records of the standard library as events."""

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
        log_event("library", at=_level(record.levelno), logger=record.name, message=record.getMessage(), traceback=trace)


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
