# SPDX-License-Identifier: Apache-2.0
"""Builds the Debian packages and the Python wheel, and trains with them in a clean Debian.

Makes Debian 12 with debootstrap, installs percentdelta-server, -worker and -client there with apt, and
the wheel with pip. systemd starts it in namespaces of its own and runs two shards and a worker over
TLS, with all hardening of their units. While they train 30 steps of MNIST, a server is killed, which
systemd starts again, and a third shard is added with percentdelta-shards. The SHA-256 of the weights
must be pd-local's, as pdctl and the Python client see it. `pdctl drain` must end all services for good.
lintian and systemd-analyze check packages and units.

Takes root, and two to three minutes. Removes what it made; keeps the logs after a failure.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

from deploy.project import JOBS, RELEASE, ROOT, Binaries
from tests.harness.commands import run
from tests.harness.errors import Failure, Violation
from tests.harness.processes import Process
from tests.harness.status import Status
from tests.packages.clean_debian import CleanDebian

STEPS = 30
MOST_EXPOSURE = 25  # of 100, by systemd-analyze security
POLL_SECONDS = 0.1
TRAINING_SECONDS = 120
LOCAL_SECONDS = 300
TLS = "/etc/percentdelta/tls"
CHECKPOINTS = "/var/lib/percentdelta/checkpoints"
UNITS = ("percentdelta-server@.service", "percentdelta-worker@.service")
CLIENT = f"""
import percentdelta as pd
with pd.Client("127.0.0.1:5000", tls_ca="{TLS}/ca.pem", tls_cert="{TLS}/operator.pem",
               tls_key="{TLS}/operator.key") as client:
    print(client.status().state, client.checksum())
"""


def expect(condition: bool, what: str) -> None:
    """Throws Violation with `what` unless the condition holds."""
    if not condition:
        raise Violation(what)


class Test:
    """The test, step by step."""

    def __init__(self, folder: pathlib.Path, debian: CleanDebian, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._debian = debian
        self._say = say
        self._packages: list[pathlib.Path] = []
        self._wheel = folder

    def build(self, as_built: bool) -> None:
        """Builds the packages, and checks them."""
        target = self._folder / "packages"
        run(ROOT / "deploy/packages/build", *(["--as-built"] if as_built else []), target)
        self._packages = sorted(target.glob("*.deb"))
        self._wheel, = target.glob("*.whl")
        names = [package.name.split("_")[0] for package in self._packages]
        expect(names == [f"percentdelta-{role}" for role in ("client", "server", "worker")],
               f"the packages: got {names}")
        version = re.search(r"project\(percentdelta VERSION (\S+)",
                            (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
        for package in self._packages:
            control = run("dpkg-deb", "--field", package)
            expect(version is not None and f"Version: {version.group(1)}\n" in control
                   and "libgrpc++" in control, f"{package.name}: its control file is\n{control}")
        run("lintian", "--fail-on=error", "--suppress-tags-from-file",
            ROOT / "tests/packages/lintian-suppressed", *self._packages,
            log=self._folder / "lintian.log")
        self._say("packages built: " + ", ".join(
            f"{package.name} {package.stat().st_size / 1e3:.0f} kB" for package in self._packages))

    def install(self) -> None:
        """Installs everything in the clean Debian, and checks the units there."""
        debian = self._debian
        debian.make()
        self._say("a clean Debian is made")
        debian.install(self._packages, "openssl", "python3-pip", "python3-grpcio",
                       "python3-protobuf", "python3-numpy")
        shutil.copy(self._wheel, debian.root / "packages")
        debian.chroot("python3", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
                      "--break-system-packages", f"/packages/{self._wheel.name}")
        expect("percentdelta:" in (debian.root / "etc/passwd").read_text(encoding="utf-8"),
               "the packages made no user percentdelta")
        for unit in UNITS:
            debian.chroot("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{unit}")
            debian.chroot("systemd-analyze", "security", "--offline=yes", "--no-pager",
                          f"--threshold={MOST_EXPOSURE}", f"/usr/lib/systemd/system/{unit}")
        self._say("packages and wheel are installed; the units are valid and confined")

    def configure(self, job: str) -> None:
        """Two shards with certificates; data and job."""
        root = self._debian.root
        etc = root / "etc/percentdelta"
        (etc / "job.textproto").write_text(
            job + f'checkpoint {{ every_steps: 5 directory: "{CHECKPOINTS}" keep: 2 }}\n',
            encoding="utf-8")
        for name, settings in (("server", {"PD_SHARDS": "2", "PD_TLS": TLS}),
                               ("worker", {"PD_TLS": TLS, "PD_WORKER_THREADS": "1"})):
            path = etc / f"{name}.env"
            text = path.read_text(encoding="utf-8")
            for key, value in settings.items():
                text, found = re.subn(rf"(?m)^{key}=.*", f"{key}={value}", text)
                expect(found == 1, f"{path.name} has no setting {key}")
            path.write_text(text, encoding="utf-8")
        self._debian.chroot("/usr/lib/percentdelta/make-certs", TLS, "--shards=3")
        self._debian.chroot("chown", "-R", "root:percentdelta", TLS)
        self._debian.chroot("chmod", "-R", "g=rX", TLS)
        shutil.copytree(ROOT / "data/mnist", root / "var/lib/percentdelta/data/mnist")

    def train(self) -> None:
        """Trains, with a server killed and a shard added meanwhile."""
        debian = self._debian
        debian.start()
        self._say("systemd runs in the clean Debian")
        debian.run("systemctl", "enable", "--now", "--quiet", "percentdelta-server@0",
                   "percentdelta-server@1", "percentdelta-worker@1")
        self._await(lambda status: status.step >= 3)
        debian.run("systemctl", "kill", "--signal=KILL", "percentdelta-server@1")
        self._await(lambda status: status.step >= 8)
        expect(self._property("percentdelta-server@1", "NRestarts") == "1",
               "percentdelta-server@1 was killed: expected one restart, got "
               + self._property("percentdelta-server@1", "NRestarts"))
        self._say("a server was killed, and systemd has started it again")
        said = debian.run("percentdelta-shards", "3")
        expect(re.search(r"(?m)^shards +3, ", said) is not None, f"percentdelta-shards 3: got\n{said}")
        status = self._status()
        expect(not status.finished and status.step >= 8,
               f"after percentdelta-shards 3: expected step 8 or later, got {status}")
        self._say("percentdelta-shards has added a shard")

    def finish(self, expected: str) -> None:
        """Compares the weights, and drains."""
        debian = self._debian
        self._await(lambda status: status.finished)
        got = self._pdctl("checksum").split()[0]
        expect(got == expected, f"the weights: expected pd-local's {expected}, got {got}")
        seen = debian.run("python3", "-c", CLIENT).split()
        expect(seen == ["finished", expected], f"the Python client: expected {expected}, got {seen}")
        log = debian.try_run("journalctl", "--no-pager", "-o", "cat", "-u", "percentdelta-worker@1")
        expect("shared_memory_shards=3" in log, "the worker does not exchange values by shared memory")
        self._say(f"{STEPS} steps, the weights are pd-local's: {expected}")
        self._pdctl("drain")
        for unit in ("server@0", "server@1", "server@2", "worker@1"):
            state = [self._settled(f"percentdelta-{unit}", name)
                     for name in ("ActiveState", "Result", "ExecMainStatus")]
            expect(state == ["inactive", "success", "0"],
                   f"percentdelta-{unit}: expected a clean end after pdctl drain, got {state}")
        debian.run("apt-get", "-qq", "-y", "purge", "percentdelta-server", "percentdelta-worker",
                   "percentdelta-client")
        expect(not list((debian.root / "usr").rglob("*percentdelta-server*")),
               "apt purge has left files of percentdelta-server")
        expect((debian.root / CHECKPOINTS[1:]).is_dir(), "apt purge has removed the checkpoints")
        self._say("drained, all services have ended with success, and the packages are purged")

    def _pdctl(self, *words: str) -> str:
        return self._debian.run("pdctl", f"--tls_ca={TLS}/ca.pem", f"--tls_cert={TLS}/operator.pem",
                                f"--tls_key={TLS}/operator.key", *words)

    def _status(self) -> Status:
        return Status.parse(self._pdctl("status", "--format=json"))

    def _await(self, wanted: Callable[[Status], bool]) -> None:
        until = time.monotonic() + TRAINING_SECONDS
        problem = ""
        while time.monotonic() < until:
            try:
                status = self._status()
                if wanted(status):
                    return
                problem = str(status)
            except Failure as failure:
                problem = str(failure)
            time.sleep(POLL_SECONDS)
        raise Violation(f"the training has not come far enough within {TRAINING_SECONDS} s: {problem}")

    def _property(self, unit: str, name: str) -> str:
        return self._debian.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def _settled(self, unit: str, name: str) -> str:
        until = time.monotonic() + 10
        while (self._property(unit, "ActiveState") not in ("inactive", "failed")
               and time.monotonic() < until):
            time.sleep(POLL_SECONDS)
        return self._property(unit, name)


def start_local(folder: pathlib.Path, job: str) -> Process:
    """Starts the training whose weights are compared, in the background."""
    path = folder / "job.textproto"
    path.write_text(job, encoding="utf-8")
    local = Process("pd-local", [Binaries(RELEASE).local, f"--job={path}",
                                 f"--data={ROOT / 'data/mnist'}"], folder / "local.log")
    local.start()
    return local


def weights_of(local: Process) -> str:
    """Waits for pd-local; returns the SHA-256 of its weights."""
    code = local.wait(LOCAL_SECONDS, "its start")
    found = re.search(r"(?m)^weights sha256 ([0-9a-f]+) ", local.log_since())
    if code != 0 or found is None:
        raise Failure(f"pd-local: expected exit code 0 and the weights' SHA-256, got {code}\n"
                      f"{local.tail()}")
    return found.group(1)


def test(folder: pathlib.Path, as_built: bool, say: Callable[[str], None]) -> None:
    """Runs the test."""
    job = re.sub(r"(?m)^max_steps: .*", f"max_steps: {STEPS}",
                 (JOBS / "mnist.textproto").read_text(encoding="utf-8"))
    run(ROOT / "deploy/install-packages", "build", "packages", "test", "debootstrap", "nspawn")
    run(ROOT / "deploy/fetch-data")
    with CleanDebian(folder, say) as debian:
        checks = Test(folder, debian, say)
        checks.build(as_built)
        local = start_local(folder, job)
        debian.callback(local.close)
        checks.install()
        checks.configure(job)
        expected = weights_of(local)
        try:
            checks.train()
            checks.finish(expected)
        except (Failure, Violation) as error:
            raise type(error)(f"{error}\n{debian.journal()}") from None
        say("passed")


def remove(folder: pathlib.Path, keep: bool) -> None:
    """Removes the folder, except logs and jobs if `keep`."""
    if keep:
        for path in folder.iterdir():
            if path.suffix not in (".log", ".textproto"):
                subprocess.run(["rm", "-rf", "--one-file-system", path], check=False)
        print(f"kept: {folder}", file=sys.stderr)
    else:
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=False)


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    parser = argparse.ArgumentParser(description=__doc__, prog="tests/packages/run",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as-built", action="store_true",
                        help="take the programs in build/release as they are")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    if os.geteuid() != 0:
        print("tests/packages/run: SKIPPED: making a clean Debian takes root", file=sys.stderr)
        return 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pd-packages-"))
    folder.chmod(0o755)
    keep = False
    try:
        test(folder, arguments.as_built,
             lambda text: print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True))
        return 0
    except (Failure, Violation) as error:
        keep = True
        print(f"tests/packages/run: FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except Exception:  # a mistake of the test itself
        keep = True
        traceback.print_exc()
        return 1
    finally:
        with contextlib.suppress(OSError):
            remove(folder, keep)
