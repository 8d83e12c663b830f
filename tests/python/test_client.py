# SPDX-License-Identifier: Apache-2.0
"""What a client sees of a training."""

import dataclasses
import subprocess

import numpy as np
import pytest

import helpers
import percentdelta as pd
import reference


@pytest.fixture(name="trained", scope="module")
def fixture_trained(tmp_path_factory):
    """A client of a finished training of 8 steps, with checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    job = helpers.small_job(checkpoint=pd.Checkpoint(4, str(folder)))
    with pd.LocalCluster(job, shards=2) as cluster, cluster.client() as client:
        helpers.train(cluster.address, data="d41d8c")
        yield client


def test_status(trained):
    status = trained.status()
    assert (status.state, status.step, status.max_steps, status.shards) == ("finished", 8, 8, 2)
    assert status.job_name == "small"
    assert status.job_hash == trained.job().hash()
    assert status.arithmetic.startswith("numpy-")
    assert status.data == "d41d8c"
    assert status.checkpoint.step == 8
    assert status.mean_timings.compute > 0
    assert not hasattr(status, "training")
    assert trained.wait(timeout=1).state == "finished"
    assert [point.step for point in trained.progress(from_step=6).training] == [6, 7]


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_partition_is_the_rule(shards, percentdelta_cluster):
    job = helpers.small_job()
    cluster = percentdelta_cluster(job, shards)
    with cluster.client() as client:
        client.weights()  # once all shards are there
        slices = client._cluster().partition
    assert [dataclasses.astuple(each) for each in slices] == reference.partition(
        [tensor.size for tensor in job.model.tensors], shards)


def test_statistics(trained):
    assert [step.step for step in trained.statistics(last=3)] == [5, 6, 7]
    assert [step.step for step in trained.statistics(first_step=2, last_step=4)] == [2, 3, 4]
    assert [step.step for step in trained.statistics(first_step=5)] == [5, 6, 7]
    assert [step.step for step in trained.statistics(first_step=0, last_step=0)] == [0]
    assert len(trained.statistics(last=100)) == 8
    assert trained.statistics(last=1).oldest_step == 0
    newest = trained.statistics(last=1)[0]
    assert [tensor.tensor for tensor in newest.tensors] == list(helpers.SHAPES)
    layer = trained.statistics(last=1, layer="dense")[0]
    assert [tensor.tensor for tensor in layer.tensors] == ["dense/weights", "dense/biases"]
    tensor = trained.statistics(first_step=0, last_step=0, layer="dense")[0].tensors[0]
    assert tensor.entries == 301 * 199
    assert tensor.rate == pytest.approx(0.03)
    assert tensor.relative_delta == pytest.approx(
        tensor.rate * tensor.multiplier * tensor.gradient_l1 / tensor.weight_l1)
    assert repr(trained.statistics(last=2)) == "Statistics(steps 6..7)"


def test_statistics_of_a_long_model_come_in_pages(start):
    tensors = tuple(pd.Tensor(f"layer{i:04}/{'x' * 200}", (1,), pd.Constant(1)) for i in range(600))
    job = helpers.small_job(model=pd.Model("wide", tensors), max_steps=20, gradients_per_step=1)
    cluster = start(job)
    helpers.train(cluster.address)
    with cluster.client() as client:
        assert [step.step for step in client.statistics(last=20)] == list(range(20))
        assert [step.step for step in client.statistics(first_step=1)] == list(range(1, 20))
        assert [step.step for step in client.statistics(last=18)] == list(range(2, 20))


def test_statistics_to_pandas(trained):
    pandas = pytest.importorskip("pandas")
    frame = trained.statistics(last=2).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.shape == (2 * len(helpers.SHAPES), 12)
    assert list(frame.columns[:4]) == ["step", "tensor", "layer", "entries"]
    assert list(frame["step"].unique()) == [6, 7]
    assert trained.statistics(last=1, layer="scale").to_pandas()["relative_delta"].dtype == float


def test_watch(trained):
    assert [step.step for step in trained.watch(last=3)] == [5, 6, 7]
    assert [step.step for step in trained.watch(layer="scale", last=1)] == [7]
    for step in trained.watch(last=8):
        break  # ends the call
    assert step.step == 0


def test_watch_a_training_that_begins(job, start):
    cluster = start(job, shards=2)
    with cluster.client() as client:
        watch = client.watch(last=100)
        with helpers.worker_process(cluster.address) as worker:
            assert [step.step for step in watch] == list(range(8))
            helpers.await_line(worker, "ended")


def test_bad_arguments(trained):
    with pytest.raises(pd.NotFoundError, match='layer: expected one of conv, dense.*got "nope"'):
        trained.statistics(last=1, layer="nope")
    with pytest.raises(pd.NotFoundError, match='got "nope"'):
        next(trained.watch(layer="nope"))
    with pytest.raises(pd.InvalidArgumentError):
        trained.statistics(last=-1)
    with pytest.raises(pd.Error, match="step"):
        trained.weights(step=3)  # no longer retained
    with pytest.raises(pd.FailedPreconditionError, match="finished"):
        trained.checkpoint()


def test_weights_and_checksum_are_those_of_pdctl(trained):
    pdctl = helpers.ROOT / "build/release/client/pdctl"
    if not pdctl.exists():
        pytest.skip(f"no {pdctl}")
    output = subprocess.run([pdctl, f"--server={trained.address}", "checksum"], check=True,
                            capture_output=True, text=True).stdout
    assert output.split() == [trained.checksum(), "step", "8"]
    weights = trained.weights()
    assert {name: array.shape for name, array in weights.items()} == helpers.SHAPES
    assert all(array.dtype == np.float32 for array in weights.values())


def test_checkpoint(start, tmp_path):
    job = helpers.small_job(checkpoint=pd.Checkpoint(1000, str(tmp_path / "c")))
    cluster = start(job)
    with cluster.client() as client, helpers.worker_process(
            cluster.address, "--hang-at", "4") as worker:
        helpers.await_line(worker, "hangs")
        with pytest.raises(pd.DeadlineExceededError, match="no checkpoint of step 5 or later"):
            client.checkpoint(timeout=0)
        worker.stdin.write("\n")
        worker.stdin.flush()
        client.wait(timeout=30)
        assert client.status().checkpoint.step == 8
        assert any("step" in path.name for path in (tmp_path / "c").iterdir())


def test_a_job_without_checkpoints(job, start):
    with start(job).client() as client:
        with pytest.raises(pd.FailedPreconditionError, match="expected a job with checkpoints"):
            client.checkpoint()


def test_waiting(job, start):
    cluster = start(job)
    with cluster.client() as client:
        with pytest.raises(pd.DeadlineExceededError, match="step 8 within 0 s, got to step 0"):
            client.wait(timeout=0)
        assert client.wait(step=0).step == 0


def test_no_server_there():
    with pd.Client("127.0.0.1:1", retry=pd.RetryPolicy(give_up_after=0)) as client:
        with pytest.raises(pd.UnavailableError, match="no server answers at 127.0.0.1:1"):
            client.status()
    with pd.Client("127.0.0.1:1", retry=pd.RetryPolicy(give_up_after=0.05)) as client:
        with pytest.raises(pd.UnavailableError, match="not answered for 0.05 s; the last error"):
            client.job()


def test_shards_under_other_addresses(job, start):
    cluster = start(job, shards=2)
    swapped = dict(zip(cluster.addresses, reversed(cluster.addresses)))
    with cluster.client(connect_to=swapped) as client:  # each has what the other is asked for
        with pytest.raises(pd.ServerError, match="pull from shard . at .*expected"):
            client.weights()


def test_a_failed_training(start):
    cluster = start(helpers.small_job(gradients_per_step=1))
    with cluster.client() as client:
        workers = [pd.Worker(cluster.address, name=name) for name in ("a", "b")]
        with pytest.raises(pd.TrainingFailedError, match="failed on 2 workers.*for the test"):
            while True:
                for worker in workers:
                    lease = next(worker)
                    lease.fail("for the test")
        for worker in workers:
            worker.close()
        with pytest.raises(pd.TrainingFailedError, match="for the test"):
            client.wait()
        with pytest.raises(pd.TrainingFailedError, match="for the test"):
            list(client.watch())


def test_a_closed_client(job, start):
    client = start(job).client()
    client.close()
    for call in (client.status, client.job, client.weights, lambda: next(client.watch())):
        with pytest.raises(pd.UsageError, match="the client of .* is closed"):
            call()
