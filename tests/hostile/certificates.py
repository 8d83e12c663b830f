# SPDX-License-Identifier: Apache-2.0
"""The certificates of the cluster, and those of the attackers."""

import pathlib
import subprocess

from deploy.project import ROOT
from tests.harness.cluster import make_certificates
from tests.harness.commands import run

DOMAIN = "percentdelta.test"
STRANGER = "worker-of-a-stranger"


def make_all(folder: pathlib.Path, shards: int) -> pathlib.Path:
    """Fills the folder with the cluster's certificates, with one for a hostile worker, and in other/
    with one of another CA."""
    make_certificates(folder, shards)
    run(ROOT / "deploy/tls/make-certs", folder / "other", "--only=worker")
    _make_worker(folder, STRANGER)
    return folder


def _make_worker(folder: pathlib.Path, name: str) -> None:
    extensions = folder / "extensions"
    extensions.write_text(f"extendedKeyUsage=clientAuth\n"
                          f"subjectAltName=URI:spiffe://{DOMAIN}/percentdelta/worker/{name}\n")
    for command in (
            ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "request"],
            ["x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "1",
             "-set_serial", "1", "-extfile", extensions.name, "-out", f"{name}.pem"]):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
