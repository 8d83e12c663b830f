# SPDX-License-Identifier: Apache-2.0
"""Clusters on this machine, and the fixture for tests."""

import os
import signal
import subprocess
import sys

import pytest

import helpers
import percentdelta as pd
from percentdelta import local_cluster


def test_it_ends_its_servers(job):
    with pd.LocalCluster(job, shards=2) as cluster:
        processes = list(cluster._processes)
        folder = cluster.folder
        assert all(process.poll() is None for process in processes)
        assert "listening address=" in cluster.log(1)
    assert all(process.poll() is not None for process in processes)
    assert not folder.exists()
    cluster.close()


def test_its_folder_stays_where_one_is_given(job, tmp_path):
    with pd.LocalCluster(job, folder=tmp_path / "a" / "b"):
        pass
    assert pd.Job.from_file(tmp_path / "a/b/job.textproto") == job
    assert (tmp_path / "a/b/server-0.log").exists()


def test_servers_do_not_outlive_a_killed_process(job, tmp_path):
    program = ("import helpers, percentdelta as pd, signal, os\n"
               "cluster = pd.LocalCluster(helpers.small_job())\n"
               "print(cluster._processes[0].pid, flush=True)\n"
               "os.kill(os.getpid(), signal.SIGKILL)\n")
    path = os.pathsep.join(filter(None, [str(helpers.HERE), os.environ.get("PYTHONPATH", "")]))
    result = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True,
                            check=False, env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == -signal.SIGKILL, result.stderr
    pid = int(result.stdout)
    status = f"/proc/{pid}/stat"
    for _ in range(10000):
        try:
            with open(status, encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] in "ZX":
                    return
        except OSError:
            return
    raise AssertionError(f"server {pid} is still running")


def test_a_server_that_does_not_start(job):
    with pytest.raises(pd.UnavailableError, match="(?s)server 0 ended with exit code 2; its log:.*"
                                                  "no_such_flag"):
        pd.LocalCluster(job, flags=["--no-such-flag"])


def test_shards(job):
    with pytest.raises(pd.JobError, match="shards of the cluster: expected 1..1024, got 0"):
        pd.LocalCluster(job, shards=0)


def test_where_the_server_is_looked_for(monkeypatch, tmp_path):
    program = tmp_path / "pd-server"
    program.write_text("#!/bin/sh\n", encoding="ascii")
    monkeypatch.setenv("PERCENTDELTA_SERVER", str(program))
    with pytest.raises(pd.BinaryNotFoundError, match="which is not a program"):
        local_cluster.find_server()
    program.chmod(0o755)
    assert local_cluster.find_server() == program
    monkeypatch.delenv("PERCENTDELTA_SERVER")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local_cluster.find_server() == program


def test_how_to_build_it_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("PERCENTDELTA_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(local_cluster, "_IN_CHECKOUT", "build/none/pd-server")
    with pytest.raises(pd.BinaryNotFoundError, match="(?s)no pd-server found.*deploy/build release "
                                                     "pd-server.*set PERCENTDELTA_SERVER"):
        local_cluster.find_server()


def test_the_fixture(percentdelta_cluster, job):
    first, second = percentdelta_cluster(job), percentdelta_cluster(job, shards=2)
    assert first.address != second.address
    with second.client() as client:
        assert client.status().shards == 2
