# SPDX-License-Identifier: Apache-2.0
"""When a module waits for which weights, and when which gradient leaves. The cluster is fake: no
tensor arrives before it is waited for."""

import dataclasses

import numpy as np
import pytest

import percentdelta as pd
from torch_helpers import functional, nn, torch

from percentdelta.torch import ModuleError, _parts
from percentdelta.torch._bound_module import BoundModule

from torch.utils.checkpoint import checkpoint  # after torch_helpers, which skips without PyTorch


def aligned(size, offset):
    """An array `offset` entries behind a multiple of 64 bytes."""
    memory = np.full(size + 32, np.nan, np.float32)
    begin = -memory.ctypes.data // 4 % 16 + offset
    return memory[begin:begin + size]


class FakeWeights:
    """Has garbage in each array until it is waited for, unless there at once."""

    def __init__(self, values, at_once, log, offset=0):
        self.values = values
        self.arrays = [aligned(value.size, offset) for value in values.values()]
        self.log = log
        self.there = set()
        for name in at_once:
            self.arrive(name)

    def arrive(self, name):
        self.there.add(name)
        self.arrays[list(self.values).index(name)][:] = self.values[name].reshape(-1)

    def is_there(self, name):
        return name in self.there

    def wait(self, name):
        if name not in self.there:
            self.log.append(f"wait {name}")
        self.arrive(name)


@dataclasses.dataclass
class FakeLease:
    weights: FakeWeights
    log: list
    step: int = 4
    pushed: dict = dataclasses.field(default_factory=dict)

    renewals: int = 0

    def pull(self):
        return self.weights

    def progress(self):
        self.renewals += 1

    def push(self, name, array):
        assert name not in self.pushed
        assert array.dtype == np.float32 and array.flags.c_contiguous
        self.log.append(f"push {name}")
        self.pushed[name] = array


class Log(nn.Module):
    """Says when the forward and the backward pass come by."""

    def __init__(self, log, name):
        super().__init__()
        self.log = log
        self.name = name

    def forward(self, x):
        self.log.append(f"forward {self.name}")
        y = x * 1
        y.register_hook(lambda gradient: self.log.append(f"backward {self.name}"))
        return y


def job_of(module):
    """Of all trained parameters and the state."""
    return pd.Job("job", pd.Model("model", tuple(
        pd.Tensor(part.tensor_name, part.shape, buffer=part.kind != "trained")
        for part in _parts.parts_of(module) if part.kind in ("trained", "state"))),
        pd.Optimizer(0.1, pd.Sgd()), 10, 1, pd.Data(10))


def step(module, x, at_once=(), log=None):
    """The lease after a step of `module`, with the values that it has now."""
    log = [] if log is None else log
    bound = BoundModule(module, job_of(module))
    values = {entry.name: entry.value.detach().float().numpy().copy() for entry in bound._entries}
    lease = FakeLease(FakeWeights(values, at_once, log), log)
    try:
        bound.load(lease)
        with bound.forward():
            output = module(x)
        if not bound.has_noticed(output.mean()):
            log.append("again")
            bound.load(lease)
            with bound.forward():
                output = module(x)
        bound.push_buffers()
        loss = output.mean()
        bound.has_noticed(loss)
        bound.backward(loss)
    finally:
        bound.close()
    return lease


def expected_gradients(module, x):
    for parameter in module.parameters():
        parameter.grad = None
    module(x).mean().backward()
    gradients = {part.tensor_name: (torch.zeros(part.shape) if part.value.grad is None
                                    else part.value.grad.to_dense()).float().numpy().copy()
                 for part in _parts.parts_of(module) if part.kind == "trained"}
    for parameter in module.parameters():
        parameter.grad = None
    return gradients


def check_gradients(module, x, **options):
    expected = expected_gradients(module, x)
    lease = step(module, x, **options)
    pushed = {name: array for name, array in lease.pushed.items() if name in expected}
    assert pushed.keys() == expected.keys()
    for name, array in pushed.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    return lease


def test_layer_by_layer():
    log = []
    module = nn.Sequential(nn.Linear(3, 4), Log(log, "a"), nn.Linear(4, 2), Log(log, "b"))
    check_gradients(module, torch.ones(2, 3), log=[])
    del log[:]
    step(module, torch.ones(2, 3), log=log)
    assert log[:7] == ["wait 0/weight", "wait 0/bias", "forward a", "wait 2/weight", "wait 2/bias",
                       "forward b", "backward b"]
    assert sorted(log[7:9]) == ["push 2/bias", "push 2/weight"]
    assert log[9] == "backward a"
    assert sorted(log[10:]) == ["push 0/bias", "push 0/weight"]


def test_what_is_there_is_not_waited_for():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    lease = check_gradients(module, torch.ones(2, 3), at_once=["0/weight", "1/bias"])
    assert [each for each in lease.log if each.startswith("wait")] == ["wait 0/bias",
                                                                       "wait 1/weight"]


class Functional(nn.Module):
    """Uses parameters of submodules without calling these, some in lists and by keyword."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2)
        self.tied = nn.Embedding(5, 4)
        self.lstm = nn.LSTM(4, 4)
        self.head = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        x = self.scale * self.attention(x, x, x)[0]
        x = torch.cat([x, self.head.weight[None]])
        x = functional.linear(input=x, weight=self.tied.weight)[..., :4]
        return self.lstm(x)[0]


class Custom(torch.autograd.Function):
    """Multiplies."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        return gradient * weight, (gradient * x).sum(0)


class CustomOfAnother(nn.Module):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(3, 1)
        self.last = nn.Linear(3, 3)

    def forward(self, x):
        return self.last(Custom.apply(x, self.other.weight[0]) + Custom.apply(x, self.last.bias))


@torch.jit.script
def scripted(x, weight):
    return x * weight


class ScriptedOfAnother(CustomOfAnother):
    """What neither a hook nor the mode can see."""

    def forward(self, x):
        return self.last(scripted(x, self.other.weight))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.utils.weight_norm(nn.Linear(3, 3))
        self.other = nn.utils.parametrizations.orthogonal(nn.Linear(3, 3))

    def forward(self, x):
        return self.other(self.layer(x))


class Checkpointed(nn.Module):
    """Reentrant checkpoints run backward passes of their own, and share a layer."""

    def __init__(self, reentrant):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.shared = nn.Linear(3, 3)
        self.reentrant = reentrant

    def forward(self, x):
        x = self.first(x)
        for _ in range(2):
            x = checkpoint(lambda y: self.shared(y).tanh(), x, use_reentrant=self.reentrant)
        return self.shared(x)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        return self.used(x)


def sparse():
    return nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Linear(3, 2))


@pytest.mark.parametrize("build, x", [
    (Functional, torch.rand(3, 4, 4)),
    (CustomOfAnother, torch.rand(2, 3)),
    (Normed, torch.rand(2, 3)),
    (lambda: Checkpointed(True), torch.rand(2, 3)),
    (lambda: Checkpointed(False), torch.rand(2, 3)),
    (Unused, torch.rand(2, 3)),
    (sparse, torch.tensor([1, 3, 1])),
    (lambda: nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last),
     torch.rand(2, 3, 5, 5).to(memory_format=torch.channels_last)),
    (lambda: nn.Linear(3, 2).double(), torch.rand(2, 3).double()),
    (lambda: nn.Linear(3, 2).bfloat16(), torch.rand(2, 3).bfloat16()),
    (lambda: torch.jit.script(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))),
     torch.rand(2, 3)),
], ids=["functional", "custom function", "weight norm", "reentrant checkpoint", "checkpoint",
        "unused", "sparse", "channels last", "double", "bfloat16",
        "script"])
def test_gradients_are_those_of_autograd(build, x):
    torch.manual_seed(1)
    lease = check_gradients(build(), x)
    assert len([each for each in lease.log if each.startswith("wait")]) == len(lease.pushed)


def test_what_was_used_unnoticed_is_computed_again():
    lease = check_gradients(ScriptedOfAnother(), torch.rand(2, 3))
    assert lease.log.count("again") == 1


def test_memory_is_shared_with_the_pull_and_given_up_at_the_end():
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    bound = BoundModule(module, job_of(module))
    values = {entry.name: np.ones(entry.part.shape, np.float32) for entry in bound._entries}
    lease = FakeLease(FakeWeights(values, values, []), [])
    bound.load(lease)
    arrays = dict(zip(values, lease.weights.arrays))
    assert module[0].weight.data_ptr() == arrays["0/weight"].ctypes.data
    assert module[1].running_mean.data_ptr() != arrays["1/running_mean"].ctypes.data
    bound.close()
    for array in arrays.values():
        array[:] = 5
    assert all(float(value.max()) == 1 for value in module.state_dict().values()
               if value.is_floating_point())
    hooks = [hook for each in module.modules() for hook in each._forward_pre_hooks]
    assert not hooks and all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("offset", [0, 1, 4])
def test_memory_is_aligned_as_pytorch_s_is(offset):
    module = nn.Linear(3, 2)
    before = module.weight.data_ptr()
    bound = BoundModule(module, job_of(module))
    values = {entry.name: np.ones(entry.part.shape, np.float32) for entry in bound._entries}
    for weights in (FakeWeights(values, (), [], offset), FakeWeights(values, values, [], offset)):
        bound.load(FakeLease(weights, []))
        bound.wait_all()
        assert module.weight.data_ptr() % 64 == module.bias.data_ptr() % 64 == 0
        assert module.weight.tolist() == [[1] * 3] * 2
        assert (module.weight.data_ptr() == before) == (offset != 0)
    bound.close({name: 2 * value for name, value in values.items()}, 3)
    assert module.weight.data_ptr() % 64 == 0 and module.weight.tolist() == [[2] * 3] * 2


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
