# SPDX-License-Identifier: Apache-2.0
"""PyTorch workers: the same bits whatever happens on the way. With PERCENTDELTA_FULL=1
(tests/python/torch-full) the models have the sizes of the examples."""

import itertools
import signal

import pytest

import percentdelta as pd
import torch_helpers

NAMES = ["cnn", "resnet", "transformer", "dropout"]
PATIENCE = 120


@pytest.fixture(name="processes", scope="module")
def fixture_processes():
    with torch_helpers.worker_processes(4 if torch_helpers.FULL else 2) as processes:
        yield processes


@pytest.fixture(name="expected", scope="module")
def fixture_expected(processes, tmp_path_factory):
    """The checksum after an undisturbed training with one server and one worker, by name."""
    known = {}

    def checksum(name):
        if name not in known:
            job = torch_helpers.job_of(name, tmp_path_factory.mktemp("expected"))
            with pd.LocalCluster(job) as cluster, cluster.client() as client:
                processes[0].begin(name, cluster.address)
                known[name] = processes[0].wait().split()[0]
                assert client.checksum() == known[name]
        return known[name]

    return checksum


def matrix():
    """Of (shards, workers): all, or the ones that differ most from one server and one worker."""
    return (list(itertools.product([1, 2, 3], [1, 2, 4])) if torch_helpers.FULL
            else [(1, 2), (3, 1), (3, 2)])


@pytest.mark.parametrize("shards, workers", matrix())
@pytest.mark.parametrize("name", NAMES)
def test_checksum_does_not_depend_on_shards_and_workers(processes, expected, start, tmp_path, name,
                                                        shards, workers):
    cluster = start(torch_helpers.job_of(name, tmp_path), shards=shards)
    # Each takes part: none ends before the other has begun.
    for i, process in enumerate(processes[:workers]):
        process.begin(name, cluster.address, hang_at=1, shared_memory=i % 2 == 0)
    for process in processes[:workers]:
        process.wait("hangs")
    for process in processes[:workers]:
        process.go_on()
    ends = [process.wait().split() for process in processes[:workers]]
    assert {checksum for checksum, _ in ends} == {expected(name)}
    assert all(int(gradients) > 0 for _, gradients in ends)


@pytest.mark.parametrize("name", NAMES)
def test_a_loader_s_processes_change_nothing(processes, expected, start, tmp_path, name):
    cluster = start(torch_helpers.job_of(name, tmp_path))
    processes[0].begin(name, cluster.address, num_workers=2)
    assert processes[0].wait().split()[0] == expected(name)


@pytest.mark.parametrize("name", ["cnn", "resnet", "transformer"])
def test_a_worker_and_a_server_are_killed(processes, expected, percentdelta_cluster, tmp_path,
                                          name):
    job = torch_helpers.job_of(name, tmp_path,
                               checkpoint=pd.Checkpoint(2, str(tmp_path / "checkpoints")))
    cluster = percentdelta_cluster(job, shards=2, flags=["--lease_deadline=300ms"])
    with torch_helpers.worker_processes(1) as (victim,), cluster.client() as client:
        victim.begin(name, cluster.address, hang_at=5)
        victim.wait("hangs")
        before = client.status()
        assert before.step < job.max_steps
        victim.process.send_signal(signal.SIGKILL)
        processes[0].begin(name, cluster.address, hang_at=2)
        processes[0].wait("hangs")
        cluster.kill(1)
        processes[0].go_on()
        cluster.restart(1)
        assert processes[0].wait().split()[0] == expected(name)
        after = client.wait(timeout=PATIENCE)
        assert after.generation > before.generation
