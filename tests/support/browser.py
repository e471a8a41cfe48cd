"""A web browser without a network, to see that a page needs none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

_SECONDS = 200


def opened(page, folder):
    """Return the page's document as headless Chromium has built it: every request but for files fails there.

    Where there is no Chromium the test is skipped; with ``CI`` set it fails.
    """
    program = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed (apt-get install chromium)")
        pytest.skip("chromium is not installed")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--proxy-server=127.0.0.1:9",
        f"--user-data-dir={folder}",
    ]
    done = subprocess.run(
        [program, *flags, "--dump-dom", "--virtual-time-budget=5000", page.as_uri()], capture_output=True, text=True, timeout=_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class _References(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}]


def references(html):
    """Return everything in a page that a browser would fetch."""
    parser = _References()
    parser.feed(html)
    return parser.found + re.findall(r"url\(([^)]*)\)|@import", html)
