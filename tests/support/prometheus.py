"""A real Prometheus for a test: Debian's, on a free port, with a folder of its own for what it collects."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 30
_PAUSE_SECONDS = 0.1
_SCRAPE = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


def program(name: str) -> str:
    """Return where a program of Debian's packages lies; without it the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found is None:
        missing = f"{name} is not installed; tests/install_prometheus.sh installs it from Debian"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


class QueryError(Exception):
    """What Prometheus says of a query that it does not answer."""


class Server:
    """The process, and what it has logged."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def logged(self, words: str, seconds: float) -> str:
        """Wait for a line of its log."""
        with self._changed:
            self._changed.wait_for(lambda: self._find(words) or not self._reader.is_alive(), seconds)
            found = self._find(words)
        assert found, f"not logged within {seconds} s: {words}\n{''.join(self.log)}"
        return found

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=20)
        self._reader.join(timeout=20)
        self.process.stderr.close()

    def _find(self, words: str) -> str | None:
        return next((line for line in self.log if words in line), None)

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._changed:
                self.log.append(line)
                self._changed.notify_all()


@dataclass(frozen=True)
class Prometheus:
    """Asks a server that runs; samples are labels and a float."""

    port: int
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, **parameters: str | float) -> object:
        """Ask the API and return its data."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters, quote_via=quote)}")
            answer = json.loads(connection.getresponse().read())
        if answer["status"] != "success":
            raise QueryError(answer["error"])
        return answer["data"]

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Return an instant query's samples; a scalar is one without labels."""
        data = self.ask("query", query=expression, **({} if at is None else {"time": at}))
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[tuple[dict[str, str], list[float]]]:
        """Return a range query's series."""
        data = self.ask("query_range", query=expression, start=start, end=end, step=step)
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in data["result"]]

    def samples(self, selector: str, seconds: int, at: float) -> list[tuple[float, float]]:
        """Return time and value of each sample that one series has in the seconds before."""
        found = self.ask("query", query=f"{selector}[{seconds}s]", time=at)["result"]
        assert len(found) <= 1, [one["metric"] for one in found]
        return [(stamp, float(value)) for one in found for stamp, value in one["values"]]

    def label_values(self, label: str, selector: str, start: float, end: float) -> list[str]:
        """Return the values that a label has in the series of a time range."""
        return self.ask(f"label/{label}/values", **{"match[]": selector}, start=start, end=end)

    def value(self, expression: str, at: float | None = None) -> float | None:
        """Return the one value of an expression; None if it has none."""
        samples = self.query(expression, at)
        assert len(samples) <= 1, samples
        return samples[0][1] if samples else None

    def wait_for(self, what: str, wanted: Callable[[Prometheus], object], seconds: float = 30) -> object:
        """Ask again and again until the answer is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (answer := wanted(self)):
            assert self.server.process.poll() is None, "".join(self.server.log)
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(_PAUSE_SECONDS)
        return answer


@contextlib.contextmanager
def serve(folder: Path, jobs: Sequence[Mapping[str, object]] = (), rules: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes once a second.

    Parameters
    ----------
    folder : Path
        For its configuration, log and database; has to be there.
    jobs : sequence of mapping
        Entries of ``scrape_configs``.
    rules : sequence of Path
        Rule files, evaluated once a second.
    """
    prometheus = program("prometheus")
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": _SCRAPE, "scrape_configs": [*jobs], "rule_files": [str(path) for path in rules]}))
    # It ends with the test's process, also when that is killed or ends itself over a timeout.
    bound = ["setpriv", "--pdeathsig", "KILL"]
    where = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", "--web.listen-address=127.0.0.1:0"]
    server = Server([*bound, prometheus, *where, "--log.format=json"])
    try:
        address = json.loads(server.logged("Listening on", START_SECONDS))["address"]
        server.logged("Server is ready", START_SECONDS)
        yield Prometheus(int(address.rpartition(":")[2]), server)
    finally:
        server.stop()
