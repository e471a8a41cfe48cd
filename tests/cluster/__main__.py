"""Start a Kubernetes cluster on this machine for a person to use, and stop it.

python -m tests.cluster up           start one with 3 nodes (--nodes N) and say how to use it
python -m tests.cluster status       what runs, and what is left of clusters that were killed
python -m tests.cluster load FILE    give its nodes the images of an archive
python -m tests.cluster cut NODE     take a node off the network; heal NODE puts it back
python -m tests.cluster down         remove it, and what killed test runs left
python -m tests.cluster build        only install, compile and build what tests need, images included
python -m tests.cluster images       build FedCore's images and print their sizes; `images worker-pypi` for the one with PyPI's torch
"""

import argparse
import os
import sys
import time
from pathlib import Path

from tests.cluster.availability import prepare_apiserver, prepare_cluster
from tests.cluster.cluster import find_kept, start_kept, stop_kept
from tests.cluster.errors import ClusterError, Unavailable
from tests.cluster.images import TEST_IMAGES, archive, is_archived
from tests.cluster.sizes import ALL_IMAGES, sizes
from tests.cluster.slots import leftovers

DEFAULT_NODES = 3


def main() -> int:
    """Do what the command line says; 1 and a message if it cannot be done."""
    arguments = _parser().parse_args()
    try:
        match arguments.command:
            case "build":
                return _build()
            case "up":
                _up(arguments.nodes)
            case "status":
                print("\n".join(leftovers()) or "no cluster runs, and nothing is left of one")
            case "load":
                find_kept().load(arguments.archive.absolute())
            case "cut":
                find_kept().cut(arguments.node)
            case "heal":
                find_kept().heal(arguments.node)
            case "images":
                for one in sizes(arguments.images):
                    print(f"{one.name}: {one.disk}, {one.pull / 1e6:.0f} MB to pull, built in {one.seconds:.0f} s", flush=True)
            case "down":
                stop_kept()
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _up(nodes: int) -> None:
    prepare_cluster()
    started = time.monotonic()
    cluster = start_kept(nodes)
    print(f"# Kubernetes with {nodes} nodes, started in {time.monotonic() - started:.1f} s. To use it from this shell:")
    print(f"export KUBECONFIG={cluster.kubeconfig} PATH={cluster.kubectl_program.parent}:$PATH")
    print("# To stop it: python -m tests.cluster down")


def _build() -> int:
    # Before the tests, so that its progress is seen. Where it cannot be done, they are skipped with the same reason.
    try:
        if os.environ.get("FEDCORE_E2E_KUBECONFIG"):
            prepare_apiserver()
            return 0
        prepare_cluster()
        for name in TEST_IMAGES:
            if not is_archived(name):
                _build_image(name)
    except Unavailable as reason:
        print(f"no test cluster: {reason}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    return 0


def _build_image(name: str) -> None:
    started = time.monotonic()
    archive(name)
    print(f"image {name} built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build")
    commands.add_parser("up").add_argument("--nodes", type=int, default=DEFAULT_NODES, choices=range(1, 10), metavar="1..9")
    commands.add_parser("status")
    commands.add_parser("load").add_argument("archive", type=Path)
    commands.add_parser("cut").add_argument("node")
    commands.add_parser("heal").add_argument("node")
    commands.add_parser("images").add_argument("images", nargs="*", choices=[[], *ALL_IMAGES], metavar="IMAGE")
    commands.add_parser("down")
    return parser


if __name__ == "__main__":
    sys.exit(main())
