"""Which clusters run on this machine, whose they are, and how what is left of a dead one is removed.

A cluster sits in a numbered slot: its network, state folder and control groups are named by it. Slot 0 is for the cluster
that a person keeps (``python -m tests.cluster up``), the others are for runs of tests. The owner holds a lock on the slot
as long as it lives: an abstract Unix socket, which the kernel frees at the owner's death and which leaves no file.
"""

import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import PATIENCE, run, wait_until
from tests.cluster.errors import ClusterError
from tests.cluster.machine import MARK
from tests.cluster.network import Addresses
from tests.cluster.places import STATES

KEPT_SLOT = 0
SLOTS = range(1, 32)
CONTROL_GROUPS = Path("/sys/fs/cgroup")


@dataclass
class Slot:
    """A slot that this process holds."""

    number: int
    lock: socket.socket

    @property
    def state(self) -> Path:
        """Folder of the cluster in this slot."""
        return STATES / str(self.number)

    @property
    def kept(self) -> Path:
        """Mark of a cluster that was started completely and may run on without an owner."""
        return self.state / "kept"

    def release(self) -> None:
        """Let others have it."""
        self.lock.close()


def take(number: int) -> Slot | None:
    """Take this slot if nobody has it."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0fedcore-test-cluster-{number}")
    except OSError:
        lock.close()
        return None
    return Slot(number, lock)


def take_free() -> Slot:
    """Take a slot for a run of tests, clean.

    Raises
    ------
    ClusterError
        All are in use.
    """
    for number in SLOTS:
        if slot := take(number):
            clear(slot)
            return slot
    raise ClusterError(f"all {len(SLOTS)} slots are in use")


def reap() -> list[int]:
    """Remove what killed owners left; return the numbers of their slots."""
    reaped = []
    for number in _occupied():
        if slot := take(number):
            if not slot.kept.exists():
                clear(slot)
                reaped.append(number)
            slot.release()
    return reaped


def clear(slot: Slot) -> None:
    """Kill what runs in the slot and remove all that it left: processes, network device, control groups, files."""
    _kill(slot.state)
    device = Addresses(slot.number).host_device
    if (Path("/sys/class/net") / device).exists():
        with suppress(ClusterError):  # the kernel may be faster: the device goes with the network at its other end
            run(["ip", "link", "delete", device])
    wait_until(f"control groups of slot {slot.number} to be empty", lambda: _remove_control_groups(slot.number))
    if slot.state.exists():
        shutil.rmtree(slot.state)
    with suppress(OSError):  # others still run
        STATES.rmdir()


def leftovers(number: int | None = None) -> list[str]:
    """What on this machine belongs to the cluster in a slot, or to any, in words; empty when it is gone without a trace."""
    slot = "*" if number is None else str(number)
    state = f"{STATES}/" if number is None else f"{STATES}/{number}\0"
    found = [f"process {pid}: {_command(pid)[:100]}" for pid in _marked(state.encode())]
    found += [f"device {device.name}" for device in Path("/sys/class/net").glob(f"fedcore{slot}")]
    found += [f"control group {group}" for root in control_group_roots() for group in root.glob(f"fedcore-test-{slot}-*")]
    mounted = state.rstrip("\0").rstrip("/")
    found += [f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if f" {mounted}" in line]
    found += [f"folder {folder}" for folder in STATES.glob(slot)]
    return found


def control_group_roots() -> list[Path]:
    """One folder per controller with version 1 of control groups, the one hierarchy with version 2."""
    if (CONTROL_GROUPS / "cgroup.controllers").exists():
        return [CONTROL_GROUPS]
    return [folder for folder in CONTROL_GROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]


def control_groups(slot: Slot, machine: str) -> str:
    """Make the groups under which a node keeps those of its pods; return their name."""
    name = f"fedcore-test-{slot.number}-{machine}"
    for root in control_group_roots():
        (root / name).mkdir(exist_ok=True)
    _enable_controllers()
    return name


def probe_control_groups() -> None:
    """Make such groups and remove them again.

    Raises
    ------
    OSError
        The kernel does not let us.
    """
    for root in control_group_roots():
        probe = root / f"fedcore-probe-{os.getpid()}"
        probe.mkdir()
        probe.rmdir()
    _enable_controllers()


def _enable_controllers() -> None:
    # Version 1 has one hierarchy for each, and all are on. In version 2 this fails inside a container whose processes sit in its root.
    if (CONTROL_GROUPS / "cgroup.controllers").exists():
        enabled = " ".join(f"+{controller}" for controller in (CONTROL_GROUPS / "cgroup.controllers").read_text().split())
        (CONTROL_GROUPS / "cgroup.subtree_control").write_text(enabled)


def _occupied() -> list[int]:
    with_state = {int(folder.name) for folder in STATES.glob("*") if folder.name.isdecimal()}
    with_device = {int(device.name.removeprefix("fedcore")) for device in Path("/sys/class/net").glob("fedcore[0-9]*")}
    return sorted(with_state | with_device)


def _marked(state: bytes) -> list[int]:
    mark = b"\0%s=%s" % (MARK.encode(), state)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in b"\0" + (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def _kill(state: Path) -> None:
    mark = f"{state}\0".encode()
    deadline = time.monotonic() + PATIENCE
    while alive := _marked(mark):
        if time.monotonic() > deadline:
            raise ClusterError(f"processes of {state} do not end: {alive}")
        for pid in alive:
            # unshare ends by itself, after its child is gone for good: with it, all of the machine.
            if not _command(pid).startswith("unshare "):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _remove_control_groups(number: int) -> bool:
    for root in control_group_roots():
        for group in root.glob(f"fedcore-test-{number}-*"):
            for folder in [*sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)), group]:
                with suppress(OSError):  # busy for as long as the last process in it takes to end
                    folder.rmdir()
            if group.exists():
                return False
    return True


def _command(pid: int) -> str:
    try:
        return " ".join(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").split())
    except OSError:
        return ""
