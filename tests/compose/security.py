# SPDX-License-Identifier: Apache-2.0
"""What a container may do, and who may call the servers."""

from collections.abc import Callable

from tests.compose.cluster import Cluster, certificate_flags
from tests.harness.commands import succeeds
from tests.harness.errors import Failure, Violation, expect_in

# In a container: its user; whether its root file system can be written to; what it sees of certificates.
LOOK = """
id -u
touch /usr/local/bin/x 2>/dev/null && echo writable || echo read-only
echo $(ls -A /tls)
stat -L -c '%a %u' /tls/key.pem
openssl x509 -in /tls/cert.pem -noout -ext subjectAltName
"""
FILES = "ca.pem cert.pem key.pem"
KEYS = ("600 10001", "400 10001")  # mode and user


def check_container(cluster: Cluster, service: str, container: str, files: str = FILES) -> None:
    """It does not run as root, cannot write to its root file system, and sees the certificate of its own
    role and nothing else: these files."""
    user = cluster.inspect(container, "{{.Config.User}}")
    if not user or user.split(":")[0] in ("0", "root"):
        raise Violation(f"{service}: expected a user other than root, got '{user}'")
    number, root, found, key, names = cluster.docker("exec", container, "sh", "-c",
                                                     LOOK).split("\n", 4)
    if number == "0":
        raise Violation(f"{service}: expected a user ID other than 0, got {number}")
    if root != "read-only":
        raise Violation(f"{service}: expected a read-only root file system, and /usr/local/bin/x "
                        "could be written")
    if found != files or key not in KEYS:
        raise Violation(f"{service}: expected {files} in /tls and a key for its user alone, got "
                        f"{found}, and a key with mode and user {key}")
    role = service.replace("server-", "server/shard-").replace("worker", "worker/worker")
    expect_in(names, f"URI:spiffe://percentdelta.test/percentdelta/{role}", f"{service}'s certificate")


def check_refusals(cluster: Cluster) -> None:
    """No caller gets in without a certificate; a worker's does not make an operator."""
    address = cluster.published("server-0")
    if succeeds(cluster.binaries.pdctl, f"--server={address}", "--deadline=3s", "health"):
        raise Violation(f"{address}: expected TLS, and a client in plaintext was served")
    worker = cluster.containers("worker")[0]
    check_refused("worker", lambda: cluster.docker(
        "exec", worker, "pdctl", "--server=server-0:5000", *certificate_flags("/tls"), "checkpoint"))


def check_refused(role: str, operation: Callable[[], object]) -> None:
    """An operator's operation is refused to a role."""
    try:
        operation()
    except Failure as failure:
        expect_in(str(failure), f"the role {role} may not call", f"an operator's command by a {role}")
    else:
        raise Violation(f"expected that a {role}'s certificate does not allow `pdctl checkpoint`")
