# SPDX-License-Identifier: Apache-2.0
"""PercentDelta as an optimizer of PyTorch's follows the servers, with the same gradients."""

import math

import numpy as np
import pytest

import helpers
import percentdelta as pd
from torch_helpers import EDGE_SHAPES, torch

from percentdelta.torch import PercentDelta

STEPS = 50


def gamma(schedule, step):
    """job.proto's gamma(t)."""
    decay = schedule.decay
    value = 1.0
    if isinstance(decay, pd.LinearDecay):
        value = max(decay.floor, 1 - step * decay.slope)
    elif isinstance(decay, pd.StepDecay):
        value = decay.factor ** (step // decay.every_steps)
    elif isinstance(decay, pd.Cosine):
        part = min(step, decay.steps) / decay.steps
        value = decay.floor + (1 - decay.floor) * (1 + math.cos(math.pi * part)) / 2
    return value * min(1, (step + 1) / schedule.warmup_steps if schedule.warmup_steps else 1)


def gradient_of(weights, job, step):
    """As the helpers', but at some steps zero for some tensors."""
    return {name: np.multiply(gradient, step % 10 != index, dtype=np.float32)
            for index, (name, gradient) in enumerate(
                helpers.gradient_of(weights, job, step, 0).items())}


def train_on_servers(cluster, job):
    """What the servers held and got: [(weights, gradients)] of every step, and the last weights."""
    history = []
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                pulled = lease.pull()
                weights = {name: np.array(pulled[name]) for name in EDGE_SHAPES}
                gradients = gradient_of(weights, job, lease.step)
                history.append((weights, gradients))
                lease.push(gradients)
                lease.complete(loss_sum=1.0)
    with cluster.client() as client:
        return history, dict(client.weights())


@pytest.mark.parametrize("options, changes", [
    ({}, {}),
    ({"momentum": 0.9, "dampening": 0.9}, {}),
    ({"momentum": 0.5}, {"schedule": pd.Schedule(pd.LinearDecay(slope=0.03, floor=0.1))}),
    ({"momentum": 0.9, "dampening": 0.9, "nesterov": True}, {}),
    ({"momentum": 0.0, "dampening": 0.25}, {}),
    ({"weight_decay": 0.1}, {"schedule": pd.Schedule(pd.StepDecay(every_steps=7, factor=0.5))}),
    ({"momentum": 0.9, "dampening": 0.5, "nesterov": True, "weight_decay": 0.05},
     {"schedule": pd.Schedule(pd.Cosine(steps=40, floor=0.1), warmup_steps=5)}),
    # Has no effect under this rule, on the servers either.
    ({"momentum": 0.9, "dampening": 0.9}, {"gradient_clipping": pd.GradientClipping(0.01)}),
], ids=["plain", "damped", "undamped", "nesterov", "dampening-alone", "decay", "everything",
        "clipped"])
def test_follows_the_servers(percentdelta_cluster, options, changes):
    momentum = {"coefficient": options.get("momentum", 0.0),
                "dampening": options.get("dampening", 0.0),
                "nesterov": options.get("nesterov", False)}
    decay = options.get("weight_decay")
    job = helpers.small_job(
        model=pd.Model("python", tuple(pd.Tensor(name, shape, pd.TruncatedNormal(0.1))
                                       for name, shape in EDGE_SHAPES.items())),
        optimizer=pd.Optimizer(0.03, pd.PercentDelta(epsilon=1e-3)), gradients_per_step=1,
        momentum=pd.Momentum(**momentum), weight_decay=decay and pd.WeightDecay(decay),
        max_steps=STEPS, **{"schedule": pd.Schedule(), **changes})
    history, last = train_on_servers(percentdelta_cluster(job, shards=3), job)
    assert len(history) == STEPS

    parameters = {name: torch.nn.Parameter(torch.tensor(history[0][0][name]))
                  for name in EDGE_SHAPES}
    optimizer = PercentDelta(parameters.values(), lr=0.03, eps=1e-3, **options)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: gamma(job.schedule, step))
    for step, (_, gradients) in enumerate(history):
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(gradients[name])
        optimizer.step()
        schedule.step()
        wanted = history[step + 1][0] if step + 1 < STEPS else last
        for name, parameter in parameters.items():
            np.testing.assert_allclose(parameter.detach().numpy(), wanted[name], rtol=1e-6, atol=0,
                                       err_msg=f"{name} after step {step}")
    assert all((last[name] != history[0][0][name]).any() for name in EDGE_SHAPES)
