"""Certificates of a cluster, and kubeconfig files made of them."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run

CONTEXT = "fedcore-test"
DAYS = "30"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]


@dataclass(frozen=True)
class Authority:
    """The cluster's certificate authority, and the key that signs tokens of service accounts."""

    folder: Path
    certificate: Path
    key: Path
    token_key: Path
    token_public_key: Path

    def issue(self, name: str, subject: str, alternative_names: str = "") -> tuple[Path, Path]:
        """Make certificate and key for ``subject``, good for servers and clients."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        extensions = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth", "authorityKeyIdentifier=keyid"]
        if alternative_names:
            extensions.append(f"subjectAltName={alternative_names}")
        _openssl(self.folder, key, certificate, subject, extensions, ["-CA", str(self.certificate), "-CAkey", str(self.key)])
        return certificate, key

    def kubeconfig(self, path: Path, server: str, subject: str) -> Path:
        """Write a self-contained kubeconfig file for ``subject``."""
        certificate, key = self.issue(f"{path.parent.name}-{path.stem}", subject)  # nodes start side by side
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": CONTEXT,
            "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": _base64(self.certificate)}}],
            "users": [{"name": path.stem, "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": path.stem}}],
        }
        path.write_text(json.dumps(config, indent=1))
        path.chmod(0o600)
        return path


def make_authority(folder: Path) -> Authority:
    """Make a new authority in a new folder."""
    folder.mkdir(parents=True)
    # Without a file of ours, extensions come from the machine's openssl.cnf and differ from one distribution to the next.
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
    authority = Authority(folder, folder / "ca.crt", folder / "ca.key", folder / "tokens.key", folder / "tokens.pub")
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign", "subjectKeyIdentifier=hash"]
    _openssl(folder, authority.key, authority.certificate, "/CN=fedcore-test-cluster", extensions, [])
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", authority.token_key])
    run(["openssl", "pkey", "-in", authority.token_key, "-pubout", "-out", authority.token_public_key])
    return authority


def _openssl(folder: Path, key: Path, certificate: Path, subject: str, extensions: list[str], signer: list[str]) -> None:
    added = [word for extension in extensions for word in ("-addext", extension)]
    output = ["-keyout", str(key), "-out", str(certificate), "-days", DAYS, "-subj", subject]
    run(["openssl", "req", "-x509", "-config", folder / "openssl.cnf", *signer, *CURVE, *output, *added])


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
