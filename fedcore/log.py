"""One line per event on stderr, the same keys in every process.

``FEDCORE_LOG_FORMAT=json`` makes each line a JSON object; otherwise it reads ``HH:MM:SS event key=value ...``. The standard library's
logging is left to the frameworks that tasks bring along: events have names and fields, not format strings. ``FEDCORE_LOG_LEVEL``
(debug, info, warning, error) says which are written; a name is always at the same level, so a line need not say it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

__all__ = ["Level", "log_event", "log_failure"]

Level = Literal["debug", "info", "warning", "error"]
_RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}

_PLAIN = re.compile(r"[^\s\"'=\x00-\x1f\x7f]+")


def log_event(event: str, *, at: Level = "info", **fields: Any) -> None:
    """Write one line, unless only more severe ones are wanted; fields that are None are left out."""
    if _is_wanted(at):
        _write(_line(event, {key: value for key, value in fields.items() if value is not None}))


def log_failure(event: str, error: BaseException, **fields: Any) -> None:
    """Write an event for a failure nobody foresaw, at level error, with its traceback: a field in JSON, lines of their own in text."""
    trace = "".join(traceback.format_exception(error))
    message = "".join(traceback.format_exception_only(error)).strip()
    if _json_wanted():
        log_event(event, at="error", error=message, traceback=trace, **fields)
    else:
        log_event(event, at="error", error=message, **fields)
        _write(trace)


def _is_wanted(level: Level) -> bool:
    return _RANKS[level] >= _RANKS.get(os.environ.get("FEDCORE_LOG_LEVEL", ""), _RANKS["info"])


def _json_wanted() -> bool:
    return os.environ.get("FEDCORE_LOG_FORMAT", "text") == "json"


def _line(event: str, fields: dict[str, Any]) -> str:
    if _json_wanted():
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"time": stamp, "event": event, **fields}, default=str, ensure_ascii=False) + "\n"
    return " ".join([time.strftime("%H:%M:%S"), event, *(f"{key}={_text(value)}" for key, value in fields.items())]) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _write(text: str) -> None:
    # One call per line: lines of several threads do not mix. A closed stderr must not end a training.
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
