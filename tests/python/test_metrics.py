# SPDX-License-Identifier: Apache-2.0
"""What a worker reports besides loss and accuracy, and what it says of its arithmetic."""

import grpc
import numpy as np
import pytest

import helpers
import percentdelta as pd
from percentdelta import _protocol, _wire
from percentdelta._channel import make_channel


@pytest.fixture(name="lease")
def fixture_lease(job, start):
    """A training lease of step 0, whose gradient has been pushed."""
    with pd.Worker(start(job).address) as worker:
        lease = next(iter(worker))
        lease.push(helpers.gradient_of(lease.pull(), lease.job, lease.step, lease.slot))
        yield lease


NAME = "name: expected 1..64 printable ASCII characters without blanks, quotes, backslashes, got "


@pytest.mark.parametrize("metrics, message", [
    ({f"m{i}": (1, 1) for i in range(33)}, "metrics: expected at most 32, got 33"),
    ({"": (1, 1)}, f'metrics: {NAME}""'),
    ({"x" * 65: (1, 1)}, f'metrics: {NAME}"{"x" * 65}"'),
    ({"a b": (1, 1)}, f'metrics: {NAME}"a b"'),
    ({'a"b': (1, 1)}, f'metrics: {NAME}"a"b"'),
    ({"a\\b": (1, 1)}, f'metrics: {NAME}"a\\b"'),
    ({"a\n": (1, 1)}, f'metrics: {NAME}"a\\n"'),
    ({"Größe": (1, 1)}, f'metrics: {NAME}"Größe"'),
    ({3: (1, 1)}, f"metrics: {NAME}3"),
    ({"a": (float("nan"), 1)}, "metrics: a: sum: expected a finite number, got nan"),
    ({"a": (float("-inf"), 1)}, "metrics: a: sum: expected a finite number, got -inf"),
    ({"a": ("1", 1)}, "metrics: a: sum: expected a finite number, got '1'"),
    ({"a": (10**400, 1)}, f"metrics: a: sum: expected a finite number, got {10**400}"),
    ({"a": (1, 0)}, "metrics: a: count: expected a finite number above 0, got 0"),
    ({"a": (1, -2.5)}, "metrics: a: count: expected a finite number above 0, got -2.5"),
    ({"a": (1, float("inf"))}, "metrics: a: count: expected a finite number above 0, got inf"),
    ({"a": (1, float("nan"))}, "metrics: a: count: expected a finite number above 0, got nan"),
    ({"a": (1, None)}, "metrics: a: count: expected a finite number above 0, got None"),
    ({"a": 1.5}, "metrics: a: expected (sum, count), got 1.5"),
    ({"a": (1, 2, 3)}, "metrics: a: expected (sum, count), got (1, 2, 3)"),
    ([("a", 1, 2)], "metrics: expected {name: (sum, count)}, got list"),
], ids=str)
def test_metrics_that_are_none(lease, metrics, message):
    with pytest.raises(pd.UsageError) as error:
        lease.complete(1.0, metrics=metrics)
    assert str(error.value) == f"{lease}: {message}"
    lease.complete(1.0)  # leaves no trace


def test_a_loss_that_is_not_finite_is_the_better_message(lease):
    with pytest.raises(pd.LeaseDropped, match="the loss of step 0 is not finite"):
        lease.complete(float("nan"), metrics={"a": (float("nan"), 1)})


def test_numpys_numbers_are_numbers(lease):
    lease.complete(1.0, metrics={"a": (np.float32(1.5), np.int64(3)), "b": [np.array([2.5]), 1]})


@pytest.mark.parametrize("arithmetic, message", [
    ("x" * 257, "arithmetic: expected at most 256 bytes, got 257"),
    ("a\tb", 'arithmetic: expected printable ASCII, got "a\\tb"'),
    ("größer", 'arithmetic: expected printable ASCII, got "größer"'),
])
def test_arithmetic_that_is_no_name(arithmetic, message):
    with pytest.raises(pd.InvalidArgumentError) as error:
        pd.Worker("127.0.0.1:5000", arithmetic=arithmetic)
    assert str(error.value) == message


def metric_of(stream, terms):
    """Of magnitudes whose sum depends on the order."""
    return float(stream.uniforms(terms)[-1] * 10.0 ** (stream.next() % 17))


def train_with_metrics(address, workers):
    """Each slot reports "mean", only odd ones "odd"; evaluations "test"."""
    def work(lease):
        weights = lease.pull()
        if lease.kind == "evaluate":
            weights.wait()
            stream = pd.RandomStream(lease.step, int(lease.examples[0]))
            lease.complete(1.0, metrics={"test": (metric_of(stream, 1), len(lease.examples))})
            return
        lease.push(helpers.gradient_of(weights, lease.job, lease.step, lease.slot))
        stream = pd.RandomStream(lease.random_key, 1)
        metrics = {"mean": (metric_of(stream, 1), 0.1 + lease.slot)}
        if lease.slot % 2:
            metrics["odd"] = (metric_of(stream, 2), 3)
        lease.complete(metric_of(stream, 3), metrics=metrics)

    helpers.train(address, workers, do=work)


def test_metrics_are_the_same_bits_for_any_number_of_workers(start):
    job = helpers.small_job(gradients_per_step=7, max_steps=6, evaluation=pd.Evaluation(2, 3))
    curves = []
    for workers in (1, 2, 4):
        cluster = start(job, shards=2)
        train_with_metrics(cluster.address, workers)
        with cluster.client() as client:
            progress = client.progress()
        assert [list(point.metrics) for point in progress.training] == [["mean", "odd"]] * 6
        assert [list(point.metrics) for point in progress.evaluations] == [["test"]] * 4
        curves.append([(point.step, point.loss, point.metrics)
                       for point in progress.training + progress.evaluations])
    assert curves[0] == curves[1] == curves[2]


def test_means_are_sums_over_counts(job, start):
    cluster = start(job)
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                lease.push(helpers.gradient_of(lease.pull(), lease.job, lease.step, lease.slot))
                lease.complete(1.0, metrics={"a": (lease.slot + lease.step, 2)}
                               if lease.slot else None)
    with cluster.client() as client:
        points = client.progress().training
    # Slots 1 and 2 report it, slot 0 does not.
    assert [point.metrics for point in points] == [
        {"a": (3 + 2 * step) / 4} for step in range(job.max_steps)]
    assert hash(points[0]) != hash(points[1])


def test_the_server_refuses_what_the_client_would(job, start):
    """The words are the same, and the training goes on."""
    cluster = start(job)
    bad = {"a b": (1.0, 1.0)}
    with pd.Worker(cluster.address) as worker:
        lease = next(iter(worker))
        lease.push(helpers.gradient_of(lease.pull(), lease.job, lease.step, lease.slot))
        with pytest.raises(pd.UsageError) as ours:
            lease.complete(1.0, metrics=bad)
        result = _wire.Result(loss_sum=1.0, examples=len(lease.examples),
                              metrics=(("a b", 1.0, 1.0),))
        with pytest.raises(pd.InvalidArgumentError) as servers:
            worker._session.report(lease._fields, result, None)
        assert str(servers.value).partition(": ")[2] == str(ours.value).partition(": ")[2]
    helpers.train(cluster.address)
    with cluster.client() as client:
        assert client.status().state == "finished"


@pytest.mark.parametrize("any_arithmetic", [False, True], ids=["one", "any"])
def test_arithmetic(any_arithmetic, start, caplog):
    job = helpers.small_job(any_arithmetic=any_arithmetic)
    cluster = start(job)
    with pd.Worker(cluster.address, arithmetic="a") as first:
        helpers.work_until(first, step=1).drop("another has it")
        if any_arithmetic:
            helpers.train(cluster.address, arithmetic="b")
        else:
            with pytest.raises(pd.FailedPreconditionError, match="expected arithmetic a as the "
                               "first worker's, got b: .*any_arithmetic in the job"):
                helpers.train(cluster.address, arithmetic="b")
    with cluster.client() as client:
        status = client.status()
        client.checksum()
    assert (status.arithmetic, status.any_arithmetic) == ("a", any_arithmetic)
    assert status.other_arithmetic == (("b",) if any_arithmetic else ())
    assert ("any_arithmetic: the weights depend on which worker" in caplog.text) == any_arithmetic


def test_the_server_refuses_arithmetic_as_the_worker_does(job, start):
    cluster = start(job)
    stub = _protocol.Stub("Coordinator", make_channel(cluster.address))
    for arithmetic in ("x" * 257, "a\tb"):
        with pytest.raises(pd.InvalidArgumentError) as ours:
            pd.Worker(cluster.address, arithmetic=arithmetic)
        with pytest.raises(grpc.RpcError) as servers:
            stub.AcquireLease(_wire.acquire_request("w", arithmetic, "", 0))
        assert servers.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert servers.value.details() == str(ours.value)


def test_a_restored_training_keeps_its_metrics(start, tmp_path):
    job = helpers.small_job(checkpoint=pd.Checkpoint(4, str(tmp_path)))
    cluster = start(job)
    train_with_metrics(cluster.address, 1)
    with cluster.client() as client:
        before = client.progress().training
    cluster.kill(0)
    cluster.restart(0)
    with cluster.client() as client:
        client.wait(timeout=30)
        after = client.progress().training
    assert after == before and after[7].metrics
