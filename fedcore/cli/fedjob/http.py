"""GET requests to the Kubernetes API through a Unix socket, with errors in words."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fedcore.cli.fedjob.trouble import ApiTrouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Http"]

_SECONDS = 30.0
_MOST_ERROR_BYTES = 65_536


class _Connection(HTTPConnection):
    def __init__(self, path: Path, seconds: float | None) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Http:
    """Asks the API server.

    Parameters
    ----------
    path : Path
        The socket.
    context : str
        Name of the kubeconfig's context, for messages.
    """

    def __init__(self, path: Path, context: str) -> None:
        self._path = path
        self.context = context

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return the object or list at a path.

        Raises
        ------
        ApiTrouble
            There is none, it is not allowed, or nobody answers.
        """
        connection, response = self._ask(path, query, _SECONDS)
        try:
            answer = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise self._unreachable(str(error)) from error
        finally:
            connection.close()
        return dict(answer)

    def lines(self, path: str, seconds: float | None, **query: str) -> Iterator[bytes]:
        """Give the lines of a stream until it ends; a silence of more than ``seconds`` is an error.

        Raises
        ------
        ApiTrouble
            As `get`; also in the middle.
        """
        connection, response = self._ask(path, query, seconds)
        try:
            yield from response
        except (OSError, HTTPException) as error:
            raise self._unreachable(str(error)) from error
        finally:
            connection.close()

    def _ask(self, path: str, query: Mapping[str, str], seconds: float | None) -> tuple[HTTPConnection, HTTPResponse]:
        connection = _Connection(self._path, seconds)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
            response = connection.getresponse()
            if response.status == 200:
                return connection, response
            body = response.read(_MOST_ERROR_BYTES)
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._unreachable(str(error) or type(error).__name__) from error
        connection.close()
        raise self._trouble(response.status, body)

    def _trouble(self, code: int, body: bytes) -> ApiTrouble:
        try:
            said = json.loads(body)
            message, kind = str(said["message"]), str((said.get("details") or {}).get("kind", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            # Not the API server's: the proxy's, when it cannot log in or find the server, or that of something on the way.
            message, kind = body.decode(errors="replace").strip().partition("\n")[0], ""
        if code == 401:
            return ApiTrouble(f"the cluster of context {self.context} does not let you in: {message}; log in again", code=code)
        if code == 403:
            return ApiTrouble(f"not allowed: {message}", code=code, kind=kind)
        if code == 500 and not kind:
            return self._unreachable(message)
        return ApiTrouble(f"the API server answers {code}: {message}", code=code, kind=kind)

    def _unreachable(self, why: str) -> ApiTrouble:
        return ApiTrouble(f"the cluster of context {self.context} cannot be reached: {why}", code=0)
