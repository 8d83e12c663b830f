# SPDX-License-Identifier: Apache-2.0
"""Tensors that are not trained: a linear regression on normalized features, whose running mean and
variance are buffers, against a loop in NumPy alone."""

import dataclasses

import numpy as np
import pytest

import helpers
import percentdelta as pd
from percentdelta.batches import BatchSource

FEATURES = 3
EXAMPLES = 60
RNG = np.random.default_rng(17)
INPUTS = RNG.normal([5.0, -2.0, 0.1], [3.0, 0.5, 1.0], (EXAMPLES, FEATURES))
LABELS = INPUTS[:, 0] - 2 * INPUTS[:, 1] + RNG.normal(0, 0.1, EXAMPLES)
MOMENTUM = 0.1  # of the running statistics

JOB = pd.Job(
    name="normalized",
    model=pd.Model("normalized", (
        pd.Tensor("norm/running_mean", (FEATURES,), buffer=True),
        pd.Tensor("norm/running_var", (FEATURES,), pd.Constant(1), buffer=True),
        pd.Tensor("linear/weights", (FEATURES,), pd.TruncatedNormal(0.1)),
        pd.Tensor("linear/bias", (), pd.Constant(0.1)),
        # More than a block, so that both shards have a part of it.
        pd.Tensor("cache/seen", (150, 131), pd.TruncatedNormal(1), buffer=True))),
    optimizer=pd.Optimizer(0.05, pd.Sgd()), momentum=pd.Momentum(0.9, 0.9),
    max_steps=12, batch_size=5, gradients_per_step=3, seed=3,
    data=pd.Data(training_examples=EXAMPLES))


def push_of(weights, inputs, labels):
    """The gradient of the batch's mean loss, and the buffers' new values."""
    mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
    features = (inputs - mean) / np.sqrt(variance + 1e-5)
    errors = (features * weights["linear/weights"]).sum(axis=1) + weights["linear/bias"] - labels
    seen = weights["cache/seen"].astype(np.float64)
    seen[: FEATURES] += inputs.max()
    return {"linear/weights": 2 * (errors[:, None] * features).mean(axis=0),
            "linear/bias": 2 * errors.mean(),
            "norm/running_mean": (1 - MOMENTUM) * weights["norm/running_mean"] + MOMENTUM * mean,
            "norm/running_var": (1 - MOMENTUM) * weights["norm/running_var"] + MOMENTUM * variance,
            "cache/seen": 0.75 * seen}


def train_alone(job, weights):
    """{name: float32 array} after the job's last step: SGD with momentum, and means."""
    weights = {name: np.array(array) for name, array in weights.items()}
    velocity = {name: np.zeros_like(array) for name, array in weights.items()}
    batches = BatchSource(job.seed, EXAMPLES)
    for step in range(job.max_steps):
        pushed = []
        for slot in range(job.gradients_per_step):
            batch = batches.examples(*job.batch_of(step, slot), job.batch_size)
            pushed.append(push_of(weights, INPUTS[batch], LABELS[batch]))
        for tensor in job.model.tensors:
            name = tensor.name
            total = np.zeros(tensor.shape)
            for values in pushed:
                total = total + np.asarray(values[name], np.float32).astype(np.float64)
            mean = np.asarray(total / len(pushed), np.float32)
            if tensor.buffer:
                weights[name] = mean
                continue
            v = 0.9 * velocity[name].astype(np.float64) + (1 - 0.9) * (
                job.optimizer.learning_rate * mean.astype(np.float64))
            velocity[name] = np.asarray(v, np.float32)
            weights[name] = np.asarray(weights[name].astype(np.float64) - v, np.float32)
    return weights


def work(lease):
    """Does a lease of the job."""
    weights = lease.pull()
    lease.push(push_of(weights, INPUTS[lease.examples], LABELS[lease.examples]))
    lease.complete(loss_sum=0.0)


def assert_trained_alike(job, initial, weights):
    """Weights and buffers have moved, and equal a plain loop's to the last bit."""
    expected = train_alone(job, initial)
    assert weights.step == job.max_steps
    for name, array in weights.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert np.any(array != initial[name]), name


@pytest.mark.parametrize("slots, shards, workers", [(1, 3, 2), (3, 1, 3), (3, 2, 2), (4, 3, 4)])
def test_weights_and_buffers_are_those_of_a_plain_loop(percentdelta_cluster, slots, shards,
                                                       workers):
    job = dataclasses.replace(JOB, gradients_per_step=slots)
    cluster = percentdelta_cluster(job, shards)
    with cluster.client() as client:
        initial = client.weights(step=0)
        helpers.train(cluster.address, workers=workers, do=work)
        assert_trained_alike(job, initial, client.weights())


@pytest.mark.parametrize("shards", [1, 3])
def test_buffers_continue_from_a_checkpoint(percentdelta_cluster, tmp_path, shards):
    checkpoint = pd.Checkpoint(every_steps=JOB.max_steps // 2, directory=str(tmp_path))
    half = dataclasses.replace(JOB, max_steps=JOB.max_steps // 2, checkpoint=checkpoint)
    with pd.LocalCluster(half, 2) as cluster:
        with cluster.client() as client:
            initial = client.weights(step=0)
        helpers.train(cluster.address, workers=2, do=work)
    cluster = percentdelta_cluster(dataclasses.replace(JOB, checkpoint=checkpoint), shards)
    with cluster.client() as client:
        assert client.status().step == half.max_steps
        helpers.train(cluster.address, workers=2, do=work)
        assert_trained_alike(JOB, initial, client.weights())


def test_statistics_are_of_trained_tensors_alone(percentdelta_cluster):
    cluster = percentdelta_cluster(JOB, 2)
    with cluster.client() as client:
        helpers.train(cluster.address, do=work)
        steps = list(client.watch(last=JOB.max_steps))
        assert len(steps) == JOB.max_steps
        for step in steps:
            assert [each.tensor for each in step.tensors] == ["linear/weights", "linear/bias"]
        with pytest.raises(pd.NotFoundError, match="expected one of linear, got \"norm\""):
            client.statistics(last=1, layer="norm")


def test_a_buffer_that_is_not_pushed_or_does_not_fit_is_named(percentdelta_cluster):
    cluster = percentdelta_cluster(JOB)
    with pd.Worker(cluster.address) as worker:
        lease = next(iter(worker))
        values = push_of(lease.pull(), INPUTS[lease.examples], LABELS[lease.examples])
        with pytest.raises(pd.GradientError, match=r"norm/running_var: expected shape \[3\], "
                                                   r"got \[1, 3\]"):
            lease.push("norm/running_var", values["norm/running_var"][None])
        del values["norm/running_var"]
        lease.push(values)
        with pytest.raises(pd.GradientError, match="got none of norm/running_var"):
            lease.complete(loss_sum=0.0)
        lease.drop("the test is over")
