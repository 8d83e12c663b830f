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

import os
import pathlib
import re
import shutil

from deploy.project import RELEASE, ROOT, Binaries
from tests.harness.commands import run
from tests.harness.errors import Failure, Skipped, Violation, expect
from tests.harness.job import checkpoint_text, mnist_text
from tests.harness.local import MNIST, LocalTraining
from tests.harness.program import Say, make_clock, make_parser, run_program
from tests.harness.status import Status
from tests.harness.waiting import WatchedTraining
from tests.packages.clean_debian import CleanDebian

STEPS = 30
MOST_EXPOSURE = 25  # of 100, by systemd-analyze security
TRAINING_SECONDS = 120
TLS = "/etc/percentdelta/tls"
CHECKPOINTS = "/var/lib/percentdelta/checkpoints"
UNITS = ("percentdelta-server@.service", "percentdelta-worker@.service")
CLIENT = f"""
import percentdelta as pd
with pd.Client("127.0.0.1:5000", tls_ca="{TLS}/ca.pem", tls_cert="{TLS}/operator.pem",
               tls_key="{TLS}/operator.key") as client:
    print(client.status().state, client.checksum())
"""


class Test(WatchedTraining):
    """The test, step by step."""

    def __init__(self, folder: pathlib.Path, debian: CleanDebian, say: Say) -> None:
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
            job + checkpoint_text(CHECKPOINTS, every_steps=5), encoding="utf-8")
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
        shutil.copytree(MNIST, root / "var/lib/percentdelta/data/mnist")

    def train(self) -> None:
        """Trains, with a server killed and a shard added meanwhile."""
        debian = self._debian
        debian.start()
        self._say("systemd runs in the clean Debian")
        debian.run("systemctl", "enable", "--now", "--quiet", "percentdelta-server@0",
                   "percentdelta-server@1", "percentdelta-worker@1")
        self.until(lambda status: status.step >= 3, "step 3", TRAINING_SECONDS)
        debian.run("systemctl", "kill", "--signal=KILL", "percentdelta-server@1")
        self.until(lambda status: status.step >= 8, "step 8", TRAINING_SECONDS)
        expect(self._property("percentdelta-server@1", "NRestarts") == "1",
               "percentdelta-server@1 was killed: expected one restart, got "
               + self._property("percentdelta-server@1", "NRestarts"))
        self._say("a server was killed, and systemd has started it again")
        said = debian.run("percentdelta-shards", "3")
        expect(re.search(r"(?m)^shards +3, ", said) is not None, f"percentdelta-shards 3: got\n{said}")
        status = self.status()
        expect(not status.finished and status.step >= 8,
               f"after percentdelta-shards 3: expected step 8 or later, got {status}")
        self._say("percentdelta-shards has added a shard")

    def finish(self, expected: str) -> None:
        """Compares the weights, and drains."""
        debian = self._debian
        self.until(lambda status: status.finished, "the end of the training", TRAINING_SECONDS)
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

    def look(self) -> Status | None:
        """Returns the status; None if the coordinator does not answer."""
        try:
            return Status.parse(self._pdctl("status", "--format=json"))
        except Failure:
            return None

    def _property(self, unit: str, name: str) -> str:
        return self._debian.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def _settled(self, unit: str, name: str) -> str:
        self.wait(lambda: self._property(unit, "ActiveState") in ("inactive", "failed"),
                  f"{unit} to end", 10)
        return self._property(unit, name)


def test(folder: pathlib.Path, as_built: bool, say: Say) -> None:
    """Runs the test."""
    if os.geteuid() != 0:
        raise Skipped("making a clean Debian takes root")
    job = folder / "job.textproto"
    job.write_text(mnist_text(max_steps=STEPS), encoding="utf-8")
    run(ROOT / "deploy/install-packages", "build", "packages", "test", "debootstrap", "nspawn")
    run(ROOT / "deploy/fetch-data")
    with CleanDebian(folder, say) as debian:
        checks = Test(folder, debian, say)
        checks.build(as_built)
        local = LocalTraining(Binaries(RELEASE), job)
        debian.callback(local.close)
        local.start()
        checks.install()
        checks.configure(job.read_text(encoding="utf-8"))
        expected = local.weights()
        try:
            checks.train()
            checks.finish(expected)
        except (Failure, Violation) as error:
            raise type(error)(f"{error}\n{debian.journal()}") from None
        say("passed")


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    program = "tests/packages/run"
    parser = make_parser(program, __doc__)
    parser.add_argument("--as-built", action="store_true",
                        help="take the programs in build/release as they are")
    arguments = parser.parse_args()
    say = make_clock()
    return run_program(program, lambda folder: test(folder, arguments.as_built, say),
                       kept=("*.log", "*.textproto"))
