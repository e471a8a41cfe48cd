"""Draws a board as Grafana would, against a Prometheus, in a Chromium without a screen."""

import functools
import html
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from tests.dashboards.bundle import MissingError, bundle
from tests.dashboards.queries import load

_LIMIT_SECONDS = 100
_VIRTUAL_MILLISECONDS = 20_000
"""Time as the page sees it, which stands still while answers are awaited: until then all has been drawn."""
_WIDTH, _ROW, _HEADER = 1600, 32, 44
"""In pixels, as in viewer/src/main.jsx."""


@dataclass(frozen=True)
class Drawn:
    """What became of the panels of a board."""

    total: int
    ok: int
    empty: tuple[str, ...]
    """Titles of panels without data."""
    errors: tuple[str, ...]
    """Of queries, and of drawing itself."""

    @property
    def complete(self):
        """Whether every panel is there, with data."""
        return self.total > 0 and self.ok == self.total and not self.empty and not self.errors


def page():
    """Return the folder of the page that draws; where it cannot be made the test is skipped, with CI set it fails."""
    try:
        return bundle()
    except MissingError as missing:
        if os.environ.get("CI"):
            pytest.fail(f"{missing}, and CI is set", pytrace=False)
        pytest.skip(str(missing))


def draw(uid, prometheus, picture, *, theme="dark", span_seconds=600, end=None, board=None, **variables):
    """Draw a board into a PNG file.

    Parameters
    ----------
    uid : str
    prometheus : str
        URL of a server.
    picture : Path
    theme : {"dark", "light"}
    span_seconds : int
        The time range.
    end : float, optional
        Its end, Unix time; otherwise now.
    board : dict, optional
        Drawn in place of the one that is shipped under that uid.
    **variables : str
        Values of the board's menus; what is left out is chosen as Grafana would.

    Returns
    -------
    Drawn
    """
    board = board or load(uid)
    height = _HEADER + _ROW * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work, _served(page(), json.dumps(board)) as address:
        asked = {"prom": prometheus, "dash": "board.json", "theme": theme, "span": span_seconds}
        asked |= {"to": end} if end else {}
        asked |= {f"var-{name}": value for name, value in variables.items()}
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={work}/profile", f"--window-size={_WIDTH},{height}", f"--virtual-time-budget={_VIRTUAL_MILLISECONDS}"),
            *(f"--screenshot={picture}", "--dump-dom", f"{address}/index.html?{urlencode(asked)}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, f"chromium ended with {done.returncode} and no page:\n{done.stderr[-2000:]}"
    assert title[1].startswith("{"), f"the page says {title[1]!r}: it was not done in time"
    said = json.loads(html.unescape(title[1]))
    return Drawn(said["total"], said["ok"], tuple(said["empty"]), tuple(said["errors"]))


@contextmanager
def _served(folder, board):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/board.json":
                return super().do_GET()
            self.send_response(200)
            self.end_headers()
            return self.wfile.write(board.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
