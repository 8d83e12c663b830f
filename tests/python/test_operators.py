# SPDX-License-Identifier: Apache-2.0
"""Client.pause(), resume() and drain()."""

import subprocess
import sys
import threading
import time

import pytest

import helpers
import percentdelta as pd

POLL = 0.01


@pytest.fixture(name="checkpointed")
def fixture_checkpointed(tmp_path):
    """A job of 8 steps with checkpoints on request only."""
    return helpers.small_job(checkpoint=pd.Checkpoint(1000, str(tmp_path / "checkpoints")))


@pytest.fixture(name="undisturbed", scope="module")
def fixture_undisturbed():
    """The checksum of the job's weights in the end."""
    with pd.LocalCluster(helpers.small_job()) as cluster, cluster.client() as client:
        helpers.train(cluster.address)
        return client.checksum()


class Workers:
    """Workers in threads, which do leases until the training, or the cluster, ends."""

    def __init__(self, address, count=2):
        self.drained = []
        self._threads = [threading.Thread(target=self._run, args=(address,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, address):
        with pd.Worker(address) as worker:
            for lease in worker:
                with lease:
                    helpers.work(lease)
        self.drained.append(worker.drained)

    def join(self):
        """Waits for all; returns for each whether it was drained."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        return self.drained


def await_state(client, *states):
    """Waits for one of the states, and returns the status."""
    give_up = time.monotonic() + 30
    while True:
        status = client.status()
        if status.state in states:
            return status
        assert time.monotonic() < give_up, status
        time.sleep(POLL)


def test_pause_and_resume(checkpointed, percentdelta_cluster, undisturbed):
    cluster = percentdelta_cluster(checkpointed, 2)
    with cluster.client() as client:
        client.pause()
        client.pause()
        status = client.status()
        assert (status.state, status.step) == ("paused", 0)
        assert "pdctl resume" in status.message
        workers = Workers(cluster.address)
        cluster.kill(0)  # the pause outlasts the coordinator's process
        cluster.restart(0)
        assert await_state(client, "paused", "training").state == "paused"
        client.resume()
        assert client.wait(timeout=60).state == "finished"
        assert workers.join() == [False, False]
        assert client.checksum() == undisturbed
        with pytest.raises(pd.FailedPreconditionError, match="one that is finished"):
            client.pause()


def test_drain_and_continue_on_other_shards(checkpointed, percentdelta_cluster, undisturbed):
    cluster = percentdelta_cluster(checkpointed, 2)
    with cluster.client() as client:
        workers = Workers(cluster.address, 1)
        client.wait(step=2, timeout=60)
        step = client.drain(timeout=60)
        finished = step == 8  # the workers were faster
        assert workers.join() == [not finished]
    assert [each.wait(10) for each in cluster._processes] == [0, 0]
    assert "drained" in cluster.log(1)
    more = percentdelta_cluster(checkpointed, 3)
    with more.client() as client:
        assert client.status().step == step
        helpers.train(more.address)
        assert client.checksum() == undisturbed


def test_drain_refuses_a_job_without_checkpoints(job, percentdelta_cluster):
    with percentdelta_cluster(job).client() as client:
        with pytest.raises(pd.FailedPreconditionError, match="expected a job with checkpoints"):
            client.drain()


def test_drain_is_abandoned_by_resume(checkpointed, percentdelta_cluster):
    cluster = percentdelta_cluster(checkpointed)
    with cluster.client() as client, pd.Worker(cluster.address) as worker:
        lease = next(worker)  # the drain waits for this step
        errors = []

        def drain():
            with cluster.client() as other:
                with pytest.raises(pd.ServerError, match="another operator resumed") as error:
                    other.drain(timeout=30)
                errors.append(str(error.value))

        thread = threading.Thread(target=drain)
        thread.start()
        status = await_state(client, "draining")
        assert "is not complete yet" in status.message
        with pytest.raises(pd.DeadlineExceededError, match="not drained within 0 s"):
            client.drain(timeout=0)
        client.resume()
        thread.join(30)
        assert errors
        lease.drop("the test is over")


def test_a_worker_that_is_drained_ends_with_exit_code_0(checkpointed, percentdelta_cluster):
    cluster = percentdelta_cluster(checkpointed)
    script = ("import logging, sys, percentdelta as pd\n"
              "logging.basicConfig(level=logging.INFO)\n"
              "with pd.Worker(sys.argv[1]) as worker:\n"
              "    for lease in worker:\n"
              "        raise SystemExit('expected no lease')\n"
              "sys.exit(0 if worker.drained else 3)\n")
    with cluster.client() as client:
        client.pause()
        with subprocess.Popen([sys.executable, "-c", script, cluster.address],
                              stderr=subprocess.PIPE, text=True) as process:
            while client.status().workers == 0:
                time.sleep(POLL)
            assert client.drain(timeout=60) == 0  # no step has begun
            assert "the cluster is drained" in process.communicate(timeout=30)[1]
            assert process.returncode == 0
