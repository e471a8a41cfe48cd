"""The files of a job's run directory, brought here: from its coordinator while that runs, else from its claim by a pod that reads it.

They come as a tar stream that Python writes in the pod, so that the image needs neither tar nor a shell.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fedcore.cli.fedjob.pods import COORDINATOR
from fedcore.cli.fedjob.reader import CONTAINER, reader_pod
from fedcore.cli.fedjob.trouble import UNREACHABLE, USAGE, ApiTrouble, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fedcore.cli.fedjob.http import Http
    from fedcore.cli.fedjob.kubectl import Kubectl
    from fedcore.cli.fedjob.scene import Scene

__all__ = ["fetch", "place"]

_FETCH_SECONDS = 900
_READY_SECONDS = 180
_SEND = """\
import os, sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as tar:
    for name in sys.argv[1:]:
        try:
            file = open(os.path.join(os.environ["FEDCORE_RUN_DIR"], name), "rb")
        except FileNotFoundError:
            continue
        with file:  # opened first: as long as it says here, however much it grows meanwhile
            tar.addfile(tar.gettarinfo(arcname=name, fileobj=file), file)
"""


@contextmanager
def place(http: Http, kubectl: Kubectl, scene: Scene) -> Iterator[tuple[str, str] | None]:
    """Give pod and container that see the run directory; None if it is gone with its pod.

    Raises
    ------
    Trouble
        There is none at the moment, or the pod that reads cannot be had.
    """
    coordinator = scene.current.get(None)
    if coordinator is not None and coordinator.started and not coordinator.over and not coordinator.deleting:
        yield coordinator.name, COORDINATOR
    elif scene.claim and (scene.end is not None or scene.suspend):
        with _reader(http, kubectl, scene) as name:
            yield name, CONTAINER
    elif scene.end is None and not scene.suspend:
        why = f"`kubectl fedjob why {scene.name} -n {scene.namespace}` says why"
        raise Trouble(f"the coordinator of job {scene.name} does not run at the moment; try again when it does. {why}", USAGE)
    else:
        yield None


@contextmanager
def _reader(http: Http, kubectl: Kubectl, scene: Scene) -> Iterator[str]:
    if scene.status.images is None:
        raise Trouble(f"job {scene.name} has never started", USAGE)
    name = f"{scene.name}-report-{secrets.token_hex(3)}"
    try:
        path = f"/api/v1/namespaces/{scene.namespace}/pods/{scene.status.coordinator.pod_name}"
        like = http.get(path)["spec"] if scene.status.coordinator.pod_name else scene.coordinator_pod
    except ApiTrouble:
        like = scene.coordinator_pod
    manifest = reader_pod(scene, name, scene.status.images.coordinator, like)
    kubectl.run("create", "--filename=-", stdin=json.dumps(manifest))
    try:
        try:
            kubectl.run("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={_READY_SECONDS}s", seconds=_READY_SECONDS + 30)
        except Trouble as trouble:
            raise Trouble(
                f"pod {name}, which reads claim {scene.claim}, does not start: {trouble}{_waits_for(http, scene, name)}", UNREACHABLE
            ) from None
        yield name
    finally:
        kubectl.run("delete", f"pod/{name}", "--wait=false", "--ignore-not-found")


def _waits_for(http: Http, scene: Scene, name: str) -> str:
    """Return what Kubernetes said last of a pod."""
    try:
        told = http.get(f"/api/v1/namespaces/{scene.namespace}/events", fieldSelector=f"involvedObject.name={name}").get("items") or []
    except ApiTrouble:
        return ""
    return f" ({told[-1].get('message')})" if told else ""


def fetch(kubectl: Kubectl, pod: str, container: str, names: Sequence[str], folder: Path) -> list[str]:
    """Write files of the run directory into a folder, and return which there were.

    Raises
    ------
    Trouble
        The pod could not be asked, or the stream broke off.
    """
    command = kubectl.command("exec", pod, f"--container={container}", "--", "python", "-c", _SEND, *names)
    got: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said: list[bytes] = []
        assert process.stdout is not None
        assert process.stderr is not None
        listening = threading.Thread(target=lambda errors: said.append(errors.read()), args=(process.stderr,), daemon=True)
        listening.start()
        overdue = threading.Timer(_FETCH_SECONDS, process.kill)
        overdue.start()
        trouble: Any = None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|gz") as tar:
                for member in tar:
                    content = tar.extractfile(member)
                    if member.name in names and content is not None:
                        with (folder / member.name).open("wb") as file:
                            shutil.copyfileobj(content, file)
                        got.append(member.name)
        except (tarfile.TarError, EOFError) as error:
            trouble = error
        finally:
            overdue.cancel()
            if trouble is not None:
                process.kill()
        code = process.wait()
        listening.join()
    if code != 0 or trouble is not None:
        words = b"".join(said).decode(errors="replace").strip() or str(trouble or f"exit code {code}")
        raise Trouble(f"the run directory cannot be fetched from pod {pod}: {words}", UNREACHABLE)
    return got
