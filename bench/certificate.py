"""placeholder"""

from __future__ import annotations


def make_certificate(folder):
    raise SystemExit("no TLS yet")
