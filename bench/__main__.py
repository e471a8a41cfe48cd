"""``python -m bench NAME``: what FedCore costs, each figure against a control in the same run. The last line of stdout is one JSON object."""

from __future__ import annotations

import argparse
import json

from bench.round import measure_round


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    one = benches.add_parser("round", help="seconds a round takes, times those of a plain HTTP (or raw TLS) round")
    one.add_argument("--workers", type=int, default=4)
    one.add_argument("--mb", type=float, default=10.0)
    one.add_argument("--tls", action="store_true")
    one.add_argument("--repeats", type=int, default=5)
    one.add_argument("--rounds", type=int, help="rounds counted in each repeat; by default about two seconds' worth")
    given = parser.parse_args()
    match given.bench:
        case "round":
            result = measure_round(given.workers, given.mb, tls=given.tls, repeats=given.repeats, rounds=given.rounds)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
