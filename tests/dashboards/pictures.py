"""Draws the pictures of docs/dashboards.md: ``make dashboards-pictures``.

Run and workers come from a run of some minutes on this machine, with all that the eventful run of the tests has in it and a coordinator
that is killed besides. The overview needs an operator: tests/e2e/test_metrics.py draws it on the cluster.
"""

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "tests"), str(ROOT)]  # as pytest does

from support.eventful import NAME, run_eventfully  # noqa: E402
from support.prometheus import serve  # noqa: E402
from support.watched import free_port, target  # noqa: E402
from tests.dashboards.drawing import draw  # noqa: E402

FOLDER = ROOT / "docs/dashboards"
ROUNDS = 40
_CHANGES = {"spec.rounds": ROUNDS, "spec.workers.replicas": 8, "spec.quorum.percent": 75, "spec.quorum.graceSeconds": 2}
_PACE = ("--slow", "worker-5=40", "--slow", "worker-6=120", "--slow", "worker-7=60")
"""Slow ones sleep: the run takes two minutes and hardly any CPU."""
_FAULTS = ("--kill", "coordinator@20", "--kill", "worker-5@28")
_LIMIT_SECONDS = 1200
_PICTURES = (("fedcore-run", "dark"), ("fedcore-run", "light"), ("fedcore-workers", "dark"))


def main() -> None:
    port = free_port()
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(1) as pool:
        folders = [Path(work) / name for name in ("prometheus", "run")]
        for folder in folders:
            folder.mkdir()
        with serve(folders[0], [{"job_name": "fedcore", "static_configs": [target(port)]}]) as prometheus:
            start = time.time()
            run = pool.submit(run_eventfully, folders[1], port, _CHANGES, *_PACE, *_FAULTS, limit=_LIMIT_SECONDS)
            almost = f"max(fedcore_current_round) >= {ROUNDS - 1}"
            prometheus.wait_for("the last round but one", lambda server: run.done() or server.query(almost), _LIMIT_SECONDS)
            end = time.time()
            for uid, theme in _PICTURES:
                picture = FOLDER / f"{uid}-{theme}.png"
                menus = {"federatedjob": NAME, "window": "30s"}
                drawn = draw(uid, prometheus.url, picture, theme=theme, span_seconds=int(end - start), end=end, **menus)
                print(f"{picture.relative_to(ROOT)}: {drawn.ok} of {drawn.total} panels")
                assert drawn.complete, drawn
            assert run.result().exit_code == 0, run.result().stderr


if __name__ == "__main__":
    main()
