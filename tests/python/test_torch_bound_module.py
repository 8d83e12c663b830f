# SPDX-License-Identifier: Apache-2.0
"""When a module waits for which weights, when which gradient leaves, and whose memory it uses."""

import numpy as np
import pytest

from bound_module_helpers import FakeLease, FakeWeights, job_of, step
from torch_helpers import functional, nn, torch

from percentdelta.torch import _parts
from percentdelta.torch._bound_module import BoundModule

from torch.utils.checkpoint import checkpoint  # after torch_helpers, which skips without PyTorch


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
