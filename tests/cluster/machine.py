"""A machine of the cluster: process, mount and network namespaces of its own under one small init process.

The kernel does the cleaning up: when process 1 of a PID namespace ends, every process in it is killed, and the mounts,
network devices and packet filter rules that only they held go with them. Rejected: named network namespaces and processes
in the host's PID namespace, which need every mount, shim and veth to be found and removed by hand, and are left behind
when the starter is killed.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.commands import PATIENCE, run, wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.packages import search_path

MARK = "FEDCORE_TEST_CLUSTER"
"""Environment variable that every process of a cluster inherits from its machine: the state folder of the cluster."""

NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private")

# What kubelet would otherwise write, machine-wide, into the host's kernel. It leaves a value alone that is right already, so
# it is shown files that say so.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}

# Runs as process 1 and becomes init. Own /run, /var/lib and /var/log keep the default paths of containerd, kubelet and CNI
# apart from those of the host and of other machines; what may grow lies on the disk, in the machine's folder ($1).
SETUP = """
set -eu
home=$1; shift
mount --make-rshared /
for place in containerd kubelet cni log; do mkdir -p "$home/$place"; done
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs -o mode=0755 tmpfs /var/lib
for place in containerd kubelet cni; do mkdir "/var/lib/$place"; mount --bind "$home/$place" "/var/lib/$place"; done
mount --bind "$home/log" /var/log
for setting in "$home"/settings/*; do mount --bind "$setting" "/proc/sys/$(basename "$setting" | tr : /)"; done
sysctl -qw net.ipv4.ip_forward=1
ip link set lo up
exec "$@"
"""


@dataclass
class Machine:
    """One started machine; ``pid`` is its init process as the host sees it."""

    name: str
    home: Path
    pid: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *arguments: str | Path, stdin: str | None = None, seconds: float = PATIENCE) -> str:
        """Run a program inside, to its end."""
        return run([*self._enter(), *arguments], stdin=stdin, environment=_environment(self.home.parent), seconds=seconds)

    def answers(self, *arguments: str | Path) -> bool:
        """Whether a program that runs inside ends well."""
        try:
            self.run(*arguments, seconds=10)
        except ClusterError:
            return False
        return True

    def network(self, *arguments: str | Path) -> None:
        """Run a program in the machine's network only, so that process ids it is given are the host's."""
        run(["nsenter", f"--net=/proc/{self.pid}/ns/net", *arguments], environment=_environment(self.home.parent))

    def start(self, name: str, arguments: Sequence[str | Path]) -> None:
        """Start a daemon inside; it writes to ``NAME.log`` in the machine's folder."""
        self.processes.append(_spawn([*self._enter(), *arguments], self.home / f"{name}.log", self.home.parent, subprocess.DEVNULL))

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--"]


def start_machine(name: str, state: Path, init: Path, lifeline: int | None) -> Machine:
    """Start a machine with nothing in it but a loopback device.

    Parameters
    ----------
    name : str
        Also names its folder below ``state``.
    state : Path
        The cluster's folder.
    init : Path
        The init program.
    lifeline : int or None
        Read end of a pipe: the machine ends when the last writer is gone. None: it runs until it is killed.
    """
    home = state / name
    (home / "settings").mkdir(parents=True)
    for setting, value in KERNEL_SETTINGS.items():
        (home / "settings" / setting.replace("/", ":")).write_text(f"{value}\n")
    process = [str(init)] if lifeline is None else [str(init), "-until-eof"]
    log = home / "init.log"
    spawned = _spawn(
        [*NAMESPACES, "sh", "-c", SETUP, "sh", str(home), *process], log, state, subprocess.DEVNULL if lifeline is None else lifeline
    )

    def first_process() -> int:
        if spawned.poll() is not None:
            raise ClusterError(f"machine {name} did not start: {log.read_text().strip()}")
        for child in Path(f"/proc/{spawned.pid}/task/{spawned.pid}/children").read_text().split():
            if Path(f"/proc/{child}/exe").resolve() == init.resolve():
                return int(child)
        return 0

    wait_until(f"machine {name}", first_process, log=log)
    return Machine(name, home, first_process(), [spawned])


def _environment(state: Path) -> dict[str, str]:
    # Proxies of the host are out of reach in there, and kubelet would try to use them.
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PATH": search_path(), MARK: str(state)}


def _spawn(arguments: Sequence[str | Path], log: Path, state: Path, stdin: int) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [str(word) for word in arguments],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(state),
            start_new_session=True,
        )
