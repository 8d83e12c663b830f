# SPDX-License-Identifier: Apache-2.0
"""Trainings: the rule exactly, and the same bits whatever happens on the way."""

import concurrent.futures
import dataclasses
import errno
import signal

import numpy as np
import pytest

import helpers
import reference
from percentdelta import _shared_memory

PATIENCE = 30


@pytest.fixture(name="expected", scope="module")
def fixture_expected():
    """The checksum of the small job's weights after an undisturbed training on one shard."""
    from percentdelta import LocalCluster
    with LocalCluster(helpers.small_job()) as cluster, cluster.client() as client:
        helpers.train(cluster.address)
        return client.checksum()


def test_weights_are_those_of_an_independent_program(job, start):
    cluster = start(job, shards=7)
    with cluster.client() as client:
        initial = client.weights(step=0)
        helpers.train(cluster.address, workers=4)
        weights = client.weights()
    assert weights.step == job.max_steps
    expected = reference.train(job, initial)
    equal = total = 0
    for name, array in weights.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6, atol=1e-9, err_msg=name)
        equal += int(np.sum(array == expected[name]))
        total += array.size
        assert np.any(array != initial[name]), name
    assert equal >= 0.9999 * total  # to the last bit, but for sums that are rounded otherwise


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("shards", [1, 2, 3])
def test_checksum_does_not_depend_on_shards_and_workers(job, start, expected, shards, workers):
    cluster = start(job, shards=shards)
    helpers.train(cluster.address, workers=workers)
    with cluster.client() as client:
        assert client.checksum() == expected


@pytest.mark.parametrize("shared_memory", [False, True])
@pytest.mark.parametrize("prefetch", [False, True])
def test_how_values_travel_changes_nothing(job, start, expected, prefetch, shared_memory):
    cluster = start(job, shards=2)
    with helpers.pd.Worker(cluster.address, prefetch=prefetch,
                           shared_memory=shared_memory) as worker:
        for lease in worker:
            with lease:
                helpers.work(lease)
        assert worker._session.shards.memory.takers == (2 if shared_memory else 0)
    with cluster.client() as client:
        assert client.checksum() == expected


def test_a_system_without_shared_memory(job, start, expected, monkeypatch):
    def refuse(values):
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(_shared_memory, "SharedMemory", refuse)
    cluster = start(job, shards=2)
    helpers.train(cluster.address)
    with cluster.client() as client:
        assert client.checksum() == expected


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_worker_is_gone_in_mid_push(job, start, expected, number):
    cluster = start(job, shards=2)
    with helpers.worker_process(cluster.address, "--hang-at", "3") as victim:
        helpers.await_line(victim, "hangs")
        victim.send_signal(number)
        helpers.train(cluster.address)
        with cluster.client() as client:
            assert client.checksum() == expected
            assert client.status().expired_leases + client.status().speculative_leases > 0


@pytest.mark.parametrize("shard", [1, 0], ids=["shard", "coordinator"])
def test_a_server_is_killed_and_restarted(job, start, expected, tmp_path, shard):
    job = helpers.small_job(checkpoint=helpers.pd.Checkpoint(2, str(tmp_path / "checkpoints")))
    cluster = start(job, shards=2)
    with helpers.worker_process(cluster.address, "--hang-at", "5") as worker, \
            cluster.client() as client:
        helpers.await_line(worker, "hangs")
        before = client.status().generation
        cluster.kill(shard)
        worker.stdin.write("\n")  # it goes on, and finds the server away
        worker.stdin.flush()
        cluster.restart(shard)
        status = client.wait(timeout=PATIENCE)
        assert status.generation > before
        assert client.checksum() == expected
        helpers.await_line(worker, "ended")
        assert worker.wait(PATIENCE) == 0


def test_a_server_is_away_for_too_long(job, start):
    cluster = start(job, shards=2)
    with helpers.pd.Worker(cluster.address, give_up_after=0.3) as worker:
        with pytest.raises(helpers.pd.UnavailableError, match="out of reach for 0.3 s.*shard 1 at"):
            for lease in worker:
                with lease:
                    cluster.kill(1)
                    helpers.work(lease)


def test_the_coordinator_is_away_for_too_long(job, start):
    cluster = start(job)
    with helpers.pd.Worker(cluster.address, give_up_after=0.3) as worker:
        with pytest.raises(helpers.pd.UnavailableError,
                           match="the coordinator at .* has not answered for 0.3 s"):
            for lease in worker:
                with lease:
                    cluster.kill(0)
                    helpers.work(lease)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 0), (signal.SIGINT, 1)],
                         ids=["SIGTERM", "KeyboardInterrupt"])
def test_a_worker_is_asked_to_leave(start, expected, number, code):
    # A lease that is not given back would be waited for in vain.
    job = helpers.small_job()
    cluster = start(job)
    with helpers.worker_process(cluster.address, "--hang-at", "3") as leaving:
        helpers.await_line(leaving, "hangs")
        leaving.send_signal(number)
        if number == signal.SIGTERM:  # it ends the lease in hand
            leaving.stdin.write("\n")
            leaving.stdin.flush()
        assert leaving.wait(PATIENCE) in (code, -number)
        with cluster.client() as client:
            assert client.status().step >= 3
            assert client.status().expired_leases == 0
            helpers.train(cluster.address)
            assert client.checksum() == expected


def test_a_second_sigterm_gives_the_lease_back(start):
    cluster = start(helpers.small_job())
    with helpers.worker_process(cluster.address, "--hang-at", "3") as leaving:
        helpers.await_line(leaving, "hangs")
        leaving.send_signal(signal.SIGTERM)
        helpers.await_line(leaving, "SIGTERM")  # or the two would be one
        with cluster.client() as client:
            leaving.send_signal(signal.SIGTERM)
            assert leaving.wait(PATIENCE) == 128 + signal.SIGTERM
            helpers.train(cluster.address)
            assert client.status().state == "finished"


def test_evaluations_are_reported(start):
    job = helpers.small_job(evaluation=helpers.pd.Evaluation(every_steps=4, batch_size=7))
    cluster = start(job, shards=2)
    helpers.train(cluster.address, workers=2)
    with cluster.client() as client:
        progress = client.progress()
    assert [point.step for point in progress.evaluations] == [0, 4, 8]
    assert [point.accuracy for point in progress.evaluations] == [3 / 20] * 3  # of 7, 7, 6 examples
    assert [point.loss for point in progress.evaluations] == [1] * 3
    assert [point.step for point in progress.training] == list(range(8))
    assert progress.training[0].loss == 0.5


def test_batches_are_the_written_down_ones(start):
    from percentdelta.batches import epoch_order
    job = dataclasses.replace(helpers.small_job(max_steps=4), batch_size=30)  # 3 batches an epoch
    cluster = start(job)
    seen = []
    with helpers.pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                seen.append((lease.step, lease.slot, lease.examples.tolist()))
                assert (lease.epoch, lease.batch_index) == job.batch_of(lease.step, lease.slot)
                helpers.work(lease)
    assert sorted(seen) == [
        (step, slot, epoch_order(7, step, 100)[30 * slot:30 * slot + 30].tolist())
        for step in range(4) for slot in range(3)]


def test_weights_that_are_gone(job, start, expected):
    cluster = start(job, shards=2)
    with helpers.pd.Worker(cluster.address) as late, cluster.client() as client:
        lease = next(late)  # which expires, and is given to the others
        helpers.train(cluster.address)
        with lease:
            lease.pull().wait()
            raise AssertionError("expected LeaseDropped")
        assert list(late) == []
        assert client.checksum() == expected


def test_a_gradient_that_comes_late(job, start, expected):
    cluster = start(job, shards=2)
    with helpers.pd.Worker(cluster.address) as late, cluster.client() as client:
        lease = next(late)
        gradients = helpers.gradient_of(lease.pull(), job, lease.step, lease.slot)
        helpers.train(cluster.address)
        lease.push(gradients)
        lease.complete(1.0)  # a duplicate, which changes nothing
        assert list(late) == []
        assert client.checksum() == expected


def test_tensor_by_tensor_from_other_threads(job, start, expected):
    cluster = start(job, shards=3)
    with helpers.pd.Worker(cluster.address) as worker, cluster.client() as client, \
            concurrent.futures.ThreadPoolExecutor(4) as threads:
        for lease in worker:
            with lease:
                gradients = helpers.gradient_of(lease.pull(), job, lease.step, lease.slot)
                pushes = [threads.submit(lease.push, name, gradients[name])
                          for name in reversed(list(gradients))]
                pushes[0].result()
                if lease.step + 1 < job.max_steps:
                    assert worker._session.source._next.has(lease.step + 1)  # under way already
                for push in pushes:
                    push.result()
                lease.complete(1.0)
        assert client.checksum() == expected
