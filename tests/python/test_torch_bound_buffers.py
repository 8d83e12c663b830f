# SPDX-License-Identifier: Apache-2.0
"""Buffers of a module: those that a step changes, and those that nothing may change."""

import dataclasses

import numpy as np
import pytest

import percentdelta as pd
from bound_module_helpers import FakeLease, FakeWeights, job_of, step
from torch_helpers import nn, torch

from percentdelta.torch import ModuleError, _parts
from percentdelta.torch._bound_module import BoundModule


def test_buffers_are_the_slot_s_and_counters_the_step_s():
    torch.manual_seed(1)
    module = nn.BatchNorm1d(3)
    x = torch.rand(5, 3)
    lease = step(module, x)
    np.testing.assert_allclose(lease.pushed["root/running_mean"], 0.1 * x.mean(0), rtol=1e-6)
    assert int(module.num_batches_tracked) == lease.step + 1
    assert lease.log.index("push root/running_mean") < lease.log.index("push root/weight")


class Average(nn.Module):
    """A buffer that is assigned anew, another one that is changed in place."""

    def __init__(self, persistent=True, dtype=torch.float32):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("mean", torch.zeros(3, dtype=dtype), persistent=persistent)
        self.register_buffer("largest", torch.zeros(3, dtype=dtype), persistent=persistent)

    def forward(self, x):
        kind = self.mean.dtype
        self.mean = 0.5 * self.mean + 0.5 * x.mean(0).to(kind)
        self.largest.copy_(torch.maximum(self.largest, x.max(0).values.to(kind)))
        return x * self.weight


def test_buffers_that_are_assigned_or_changed_in_place():
    x = torch.tensor([[1.0, 2, 3], [3, 4, 5]])
    module = Average()
    original = module.mean
    lease = step(module, x)
    assert lease.pushed["root/mean"].tolist() == [1, 1.5, 2]
    assert lease.pushed["root/largest"].tolist() == [3, 4, 5]
    assert module.mean is original


@pytest.mark.parametrize("module", [Average(persistent=False), Average(dtype=torch.int64)],
                         ids=["not persistent", "whole numbers"])
def test_constants_that_change(module):
    with pytest.raises(ModuleError, match="module: (mean|largest) is not a tensor of the job, and "
                                          "expected to be constant"):
        step(module, torch.rand(2, 3))


class Growing(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen = torch.cat([self.seen, torch.zeros(1)])
        return x * self.weight


class Clamped(nn.Linear):
    def forward(self, x):
        with torch.no_grad():
            self.weight.clamp_(-1, 1)
        return super().forward(x)


class Frozen(nn.Linear):
    def __init__(self):
        super().__init__(3, 3)
        self.bias.requires_grad_(False)

    def forward(self, x):
        self.bias += 1
        return super().forward(x)


@pytest.mark.parametrize("module, message", [
    (Growing(), r"module: buffer seen: expected shape \[1\] after the forward pass, got \[2\]"),
    (Clamped(3, 3), "module: weight was changed in place: only the servers change weights"),
    (Frozen(), "module: bias is not a tensor of the job, and expected to be constant"),
], ids=["shape", "parameter", "frozen"])
def test_what_a_forward_pass_must_not_change(module, message):
    with pytest.raises(ModuleError, match=message):
        step(module, torch.rand(2, 3))


def test_frozen_parameters_that_are_buffers_of_the_job():
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    module[0].requires_grad_(False)
    tensors = tuple(pd.Tensor(part.tensor_name, part.shape, buffer=part.kind == "frozen")
                    for part in _parts.parts_of(module))
    job = dataclasses.replace(job_of(nn.Linear(1, 1)), model=pd.Model("model", tensors))
    bound = BoundModule(module, job)
    values = {tensor.name: np.full(tensor.shape, 0.7, np.float32) for tensor in tensors}
    lease = FakeLease(FakeWeights(values, (), []), [])
    bound.load(lease)
    with bound.forward():
        output = module(torch.ones(2, 3))
    bound.push_buffers()
    assert bound.has_noticed(output.mean())
    bound.backward(output.mean())
    assert lease.pushed["0/weight"].tolist() == values["0/weight"].tolist()
    assert lease.pushed["1/weight"].shape == (1, 2)
    assert bound.fingerprint("data") == "data"
