# SPDX-License-Identifier: Apache-2.0
"""A cluster of pd-server processes on this machine, for notebooks and tests."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from typing import Any, Dict, List, Optional, Sequence, Type, Union

from percentdelta._job_checks import check_integer
from percentdelta.client import Client
from percentdelta.errors import BinaryNotFoundError, Error, UnavailableError
from percentdelta.job import Job

VARIABLE = "PERCENTDELTA_SERVER"
_IN_CHECKOUT = "build/release/server/pd-server"
_START_SECONDS = 60.0
_END_SECONDS = 10.0
_POLL_SECONDS = 0.01
_LISTENING = re.compile(r" listening address=(\S+)")


def find_server() -> pathlib.Path:
    """The program pd-server: named by the environment variable PERCENTDELTA_SERVER, on PATH, or
    built in the checkout that holds this package or the working directory. BinaryNotFoundError says
    how to build it."""
    named = os.environ.get(VARIABLE, "")
    if named:
        if os.access(named, os.X_OK) and not os.path.isdir(named):
            return pathlib.Path(named).resolve()
        raise BinaryNotFoundError(f"{VARIABLE}: expected the path of the program pd-server, got "
                                  f'"{named}", which is not a program')
    on_path = shutil.which("pd-server")
    if on_path is not None:
        return pathlib.Path(on_path).resolve()
    folders = [*pathlib.Path(__file__).resolve().parents, *(pathlib.Path.cwd() / "_").parents]
    for folder in folders:
        if os.access(folder / _IN_CHECKOUT, os.X_OK):
            return folder / _IN_CHECKOUT
    raise BinaryNotFoundError(
        f"no pd-server found on PATH, nor as {_IN_CHECKOUT} above {pathlib.Path.cwd()}: build "
        f"it in a checkout of the project with\n    deploy/install-packages build && deploy/build "
        f"release pd-server\nand set {VARIABLE} to the path of {_IN_CHECKOUT}")


class LocalCluster:
    """`shards` server processes that train `job`, on free ports of 127.0.0.1.

        with percentdelta.LocalCluster(job, shards=2) as cluster:
            with percentdelta.Worker(cluster.address) as worker: ...

    Ready when made. They end with close(), the `with` block, or this process. Workers are yours.

    server  path of pd-server; None: find_server()
    threads of each server; 0: one a core
    folder  for the job file and the servers' logs, which stays; None: a temporary one
    flags   further flags of pd-server
    certificates  directory that deploy/tls/make-certs has filled: the servers use TLS; tls() has
            the arguments for a Worker
    token_file  with a viewer's or an operator's token for client(), where `flags` asks for tokens

    BinaryNotFoundError: no pd-server. UnavailableError: a server did not start; the message has the
    end of its log.
    """

    def __init__(self, job: Job, shards: int = 1, *,
                 server: Union[None, str, os.PathLike[str]] = None, threads: int = 1,
                 folder: Union[None, str, os.PathLike[str]] = None,
                 flags: Sequence[str] = (),
                 certificates: Union[None, str, os.PathLike[str]] = None,
                 token_file: Union[None, str, os.PathLike[str]] = None) -> None:
        check_integer("shards of the cluster", shards, 1, 1024)
        self.job = job
        self.shards = shards
        self._server = find_server() if server is None else pathlib.Path(server)
        self._flags = [f"--threads={threads}", *flags]
        self._token_file = token_file
        self._certificates = None if certificates is None else pathlib.Path(certificates)
        self._own_folder = None if folder is not None else tempfile.TemporaryDirectory(
            prefix="percentdelta-")
        self.folder = pathlib.Path(folder if folder is not None else self._folder_name())
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "job.textproto").write_text(job.to_text(), encoding="utf-8")
        self._processes: List[Optional[subprocess.Popen[bytes]]] = [None] * shards
        self.addresses: List[str] = [""] * shards
        self._finalizer = weakref.finalize(self, _end, self._processes)
        try:
            for shard in range(shards):
                self._start(shard)
                if shard == 0:
                    self._await_listening(0)
            for shard in range(1, shards):
                self._await_listening(shard)
            self._await_generation()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, trace: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """HOST:PORT of the coordinator, for Client and Worker."""
        return self.addresses[0]

    @property
    def pids(self) -> List[int]:
        """Process ids of the servers, by shard."""
        return [each.pid for each in self._processes if each is not None]

    def client(self, **options: Any) -> Client:
        """A Client of this cluster, with the operator's certificate; `options` are Client's."""
        mine = self.tls("operator")
        if self._token_file is not None:
            mine["token_file"] = self._token_file
        return Client(self.address, **{**mine, **options})

    def tls(self, name: str = "worker") -> Dict[str, Any]:
        """The arguments tls_ca, tls_cert and tls_key of Client and Worker, for the certificate of
        this name. Empty without certificates."""
        if self._certificates is None:
            return {}
        return {"tls_ca": self._certificates / "ca.pem",
                "tls_cert": self._certificates / f"{name}.pem",
                "tls_key": self._certificates / f"{name}.key"}

    def kill(self, shard: int) -> None:
        """Ends a server with SIGKILL, as a crash would, and waits until it has ended."""
        process = self._processes[shard]
        if process is not None:
            process.kill()
            process.wait()

    def restart(self, shard: int) -> None:
        """Starts a server that has ended, at its address. Does not wait for the generation."""
        process = self._processes[shard]
        if process is not None and process.poll() is None:
            raise Error(f"shard {shard} is running: kill it first")
        self._start(shard)
        self._await_listening(shard)

    def log(self, shard: int) -> str:
        """What a server has logged since it was last started."""
        try:
            return self._log_file(shard).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """Ends the servers. May be called twice."""
        self._finalizer()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def _folder_name(self) -> str:
        assert self._own_folder is not None
        return self._own_folder.name

    def _log_file(self, shard: int) -> pathlib.Path:
        return self.folder / f"server-{shard}.log"

    def _start(self, shard: int) -> None:
        command = [str(self._server), f"--listen={self.addresses[shard] or '127.0.0.1:0'}",
                   f"--shards={self.shards}", f"--shard={shard}",
                   f"--job={self.folder / 'job.textproto'}", *self._flags]
        if shard > 0:
            command.append(f"--coordinator={self.address}")
        command += [f"--{name}={path}" for name, path in self.tls(f"shard-{shard}").items()]
        # It dies with this process, however that ends. (With the thread that starts it, strictly.)
        if shutil.which("setpriv") and threading.current_thread() is threading.main_thread():
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        with self._log_file(shard).open("wb") as log:
            try:
                # A session of its own: Ctrl-C is for this process, which ends it in good order.
                self._processes[shard] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True)
            except OSError as error:
                raise BinaryNotFoundError(
                    f"cannot start {self._server}: {error.strerror}") from error

    def _await_listening(self, shard: int) -> None:
        process = self._processes[shard]
        assert process is not None
        give_up = time.monotonic() + _START_SECONDS
        while True:
            found = _LISTENING.search(self.log(shard))
            if found:
                self.addresses[shard] = found.group(1)
                return
            code = process.poll()
            if code is not None or time.monotonic() > give_up:
                end = "does not listen" if code is None else f"ended with exit code {code}"
                raise UnavailableError(f"server {shard} {end}; its log:\n{self._log_end(shard)}")
            time.sleep(_POLL_SECONDS)

    def _await_generation(self) -> None:
        give_up = time.monotonic() + _START_SECONDS
        with self.client() as client:
            while True:
                status = client.status()
                if status.state != "gathering":
                    return
                if time.monotonic() > give_up or self._has_ended():
                    raise UnavailableError(
                        f"the cluster is still gathering its shards ({status.message}); the log of "
                        f"server 0:\n{self._log_end(0)}")
                time.sleep(_POLL_SECONDS)

    def _has_ended(self) -> bool:
        return any(each is not None and each.poll() is not None for each in self._processes)

    def _log_end(self, shard: int) -> str:
        return "\n".join(self.log(shard).splitlines()[-12:]) or "(empty)"


def _end(processes: List[Optional[subprocess.Popen[bytes]]]) -> None:
    """Ends processes of a cluster that nothing is needed of any more."""
    running = [each for each in processes if each is not None and each.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)  # the second one ends it at once
    give_up = time.monotonic() + _END_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, give_up - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
