# SPDX-License-Identifier: Apache-2.0
"""PercentDelta as an optimizer of PyTorch's is like other optimizers, and refuses what is wrong."""

import copy
import dataclasses
import math

import pytest

import helpers
import percentdelta as pd
from torch_helpers import EDGE_SHAPES, torch

from percentdelta.torch import PercentDelta
from percentdelta.torch import optimizer as implementation


def make_parameters(dtype=torch.float32, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter((0.1 * torch.randn(shape, generator=generator)).to(dtype))
            for shape in EDGE_SHAPES.values()]


def set_gradients(parameters, step):
    generator = torch.Generator().manual_seed(100 + step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


ALL = {"lr": 0.05, "eps": 1e-3, "momentum": 0.9, "dampening": 0.8, "nesterov": True,
       "weight_decay": 0.1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_state_dict_continues_with_the_same_bits(dtype, tmp_path):
    parameters = make_parameters(dtype)
    optimizer = PercentDelta(parameters, **ALL)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

    def steps(of, optimizer, schedule, first, last):
        for step in range(first, last):
            set_gradients(of, step)
            optimizer.step()
            schedule.step()

    steps(parameters, optimizer, schedule, 0, 5)
    torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                "parameters": [p.detach().clone() for p in parameters]}, tmp_path / "state.pt")
    steps(parameters, optimizer, schedule, 5, 10)

    saved = torch.load(tmp_path / "state.pt")
    restored = [torch.nn.Parameter(p) for p in saved["parameters"]]
    second = PercentDelta(restored, lr=1.0)
    second_schedule = torch.optim.lr_scheduler.StepLR(second, step_size=2, gamma=0.5)
    second.load_state_dict(saved["optimizer"])
    second_schedule.load_state_dict(saved["schedule"])
    assert second.param_groups[0]["momentum"] == 0.9
    steps(restored, second, second_schedule, 5, 10)
    for a, b in zip(parameters, restored):
        assert a.dtype == dtype and torch.equal(a, b)
        assert torch.equal(optimizer.state[a]["momentum_buffer"],
                           second.state[b]["momentum_buffer"])


@pytest.mark.parametrize("dtype, tolerance", [
    (torch.float64, 1e-6), (torch.float16, 3e-2), (torch.bfloat16, 2e-1)])
def test_other_types_follow_single_precision(dtype, tolerance):
    """To their own rounding, which adds up over the steps."""
    single, other = make_parameters(), make_parameters(dtype)
    optimizers = [PercentDelta(parameters, **ALL) for parameters in (single, other)]
    for step in range(10):
        set_gradients(single, step)
        set_gradients(other, step)
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(single, other):
        assert b.dtype == dtype
        assert (a - b.float()).abs().mean() <= tolerance * a.abs().mean()


def test_layer_changes_by_its_rate():
    """The promise: the mean of |change / W| is lr, whatever the gradient's size."""
    for scale in (1e-12, 1, 1e12):
        parameter = torch.nn.Parameter(torch.linspace(0.5, 2, 1000, dtype=torch.float64))
        before = parameter.detach().clone()
        parameter.grad = scale * torch.sin(torch.arange(1000, dtype=torch.float64))
        PercentDelta([parameter], lr=0.03, eps=1e-9).step()
        change = ((parameter.detach() - before) / before).abs().mean()
        assert change == pytest.approx(0.03, rel=1e-6)


def test_pieces_and_layouts_do_not_matter(monkeypatch):
    """A tensor in pieces, whole, in channels-last and in transposed memory."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(6, 8, 5, 7, generator=generator)
    gradients = [torch.randn(6, 8, 5, 7, generator=generator) for _ in range(3)]

    def train(parameter, gradient_format):
        optimizer = PercentDelta([parameter], **ALL)
        for gradient in gradients:
            parameter.grad = gradient.clone().contiguous(memory_format=gradient_format)
            optimizer.step()
        return parameter.detach()

    wanted = train(torch.nn.Parameter(values.clone()), torch.contiguous_format)
    monkeypatch.setattr(implementation, "_CPU_PIECE", 100)
    last = torch.channels_last
    channels = torch.nn.Parameter(values.clone().contiguous(memory_format=last))
    for got in (train(torch.nn.Parameter(values.clone()), torch.contiguous_format),
                train(channels, last), train(torch.nn.Parameter(values.clone()), last)):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=0)
    assert channels.is_contiguous(memory_format=last)
    turned = torch.nn.Parameter(values[0, 0].t().contiguous().t())
    turned.grad = gradients[0][0, 0]
    straight = torch.nn.Parameter(values[0, 0].clone())
    straight.grad = gradients[0][0, 0].clone()
    for parameter in (turned, straight):
        PercentDelta([parameter]).step()
    torch.testing.assert_close(turned, straight, rtol=1e-6, atol=0)


def test_without_double_precision(monkeypatch):
    exact, single = make_parameters(), make_parameters()
    set_gradients(exact, 0)
    set_gradients(single, 0)
    PercentDelta(exact, **ALL).step()
    monkeypatch.setattr(implementation, "_WITHOUT_DOUBLE", ("cpu",))
    PercentDelta(single, **ALL).step()
    for a, b in zip(exact, single):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_zero_gradient_changes_nothing_and_zero_weights_hardly():
    still, zeros = torch.nn.Parameter(torch.randn(9)), torch.nn.Parameter(torch.zeros(9))
    before = still.detach().clone()
    still.grad, zeros.grad = torch.zeros(9), torch.ones(9)
    PercentDelta([still, zeros], lr=0.1, eps=1e-3).step()
    assert torch.equal(still, before)
    torch.testing.assert_close(zeros.detach(), torch.full((9,), -1e-4))


def test_missing_gradient_leaves_parameter_and_momentum():
    parameter, other = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimizer = PercentDelta([parameter, other], momentum=0.9)
    parameter.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(other, torch.ones(3)) and not optimizer.state[other]
    after, velocity = parameter.detach().clone(), optimizer.state[parameter]["momentum_buffer"]
    velocity_before = velocity.clone()
    parameter.grad = None
    optimizer.step()
    assert torch.equal(parameter, after) and torch.equal(velocity, velocity_before)
    parameter.grad = torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), after - 0.9 * velocity_before)


def test_empty_parameter():
    empty = torch.nn.Parameter(torch.empty(0, 4))
    empty.grad = torch.empty(0, 4)
    PercentDelta([empty], momentum=0.9).step()


def test_maximize():
    down, up = make_parameters(), make_parameters()
    optimizers = [PercentDelta(down, **ALL), PercentDelta(up, **ALL, maximize=True)]
    for step in range(3):
        set_gradients(down, step)
        set_gradients(up, step)
        for parameter in up:
            parameter.grad.neg_()
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(down, up))


def test_closure():
    parameter = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = PercentDelta([parameter], lr=0.1, eps=1e-6)

    def closure():
        optimizer.zero_grad()
        loss = (parameter ** 2).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        losses = [float(optimizer.step(closure)) for _ in range(20)]
    assert losses[0] == 13 and losses == sorted(losses, reverse=True) and losses[-1] < 1
    assert optimizer.step() is None


def test_parameter_groups():
    fast, slow, late = (torch.nn.Parameter(torch.full((4,), 2.0)) for _ in range(3))
    optimizer = PercentDelta([{"params": [fast], "lr": 0.5}, {"params": [slow]}], lr=0.1, eps=1e-9)
    optimizer.add_param_group({"params": late, "lr": 0.2, "weight_decay": 0.5})
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1, 0.2]
    for parameter in (fast, slow, late):
        parameter.grad = torch.ones(4)
    optimizer.step()
    for parameter, wanted in ((fast, 1.0), (slow, 1.8), (late, 2 - 0.4 - 0.2)):
        torch.testing.assert_close(parameter.detach(), torch.full((4,), wanted))


def test_named_parameters_in_errors():
    module = torch.nn.Linear(2, 3)
    try:
        optimizer = PercentDelta(module.named_parameters())
    except TypeError:
        pytest.skip("this PyTorch takes no names")
    module.weight.grad = torch.full((3, 2), math.nan)
    module.bias.grad = torch.ones(3)
    with pytest.raises(pd.GradientError, match='parameter 0 "weight" of group 0, shape'):
        optimizer.step()


@pytest.mark.parametrize("options, message", [
    ({"lr": -1}, "lr: expected 0 or a number in 1e-37..1e+37, got -1"),
    ({"lr": math.inf}, "lr: expected 0 or a number in 1e-37..1e+37, got inf"),
    ({"lr": math.nan}, "lr: expected 0 or a number in 1e-37..1e+37, got nan"),
    ({"lr": "fast"}, "lr: expected a number, got 'fast'"),
    ({"lr": None}, "lr: expected a number, got None"),
    ({"lr": True}, "lr: expected a number, got True"),
    ({"eps": 0}, "eps: expected a positive number in 1e-37..1e+37, got 0"),
    ({"eps": -1e-8}, "eps: expected a positive number in 1e-37..1e+37, got -1e-08"),
    ({"momentum": 1}, "momentum: expected 0 or a number in [1e-37, 1), got 1"),
    ({"momentum": -0.1}, "momentum: expected 0 or a number in [1e-37, 1), got -0.1"),
    ({"dampening": 1.5}, "dampening: expected 0 or a number in [1e-37, 1), got 1.5"),
    ({"weight_decay": -0.5}, "weight_decay: expected 0 or a number in 1e-37..1e+37, got -0.5"),
])
def test_refuses_bad_options(options, message):
    parameter = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(pd.InvalidArgumentError) as error:
        PercentDelta([parameter], **options)
    assert str(error.value) == f"PercentDelta: {message}"
    assert isinstance(error.value, ValueError)
    optimizer = PercentDelta([torch.nn.Parameter(torch.ones(1))])
    with pytest.raises(pd.InvalidArgumentError):
        optimizer.add_param_group({"params": [parameter], **options})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [parameter]})


def test_says_the_words_of_jobs():
    """Where a job has the same field, its message has the same expectation."""
    job = helpers.small_job()
    for field, change, options in (
            ("eps", {"optimizer": pd.Optimizer(0.1, pd.PercentDelta(-1))}, {"eps": -1}),
            ("momentum", {"momentum": pd.Momentum(1)}, {"momentum": 1}),
            ("dampening", {"momentum": pd.Momentum(0, 2)}, {"dampening": 2})):
        with pytest.raises(pd.JobError) as of_job:
            dataclasses.replace(job, **change)
        with pytest.raises(pd.InvalidArgumentError) as own:
            PercentDelta([torch.nn.Parameter(torch.ones(1))], **options)
        assert str(own.value).partition(": expected ")[2] == (
            str(of_job.value).partition(": expected ")[2]), field


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32])
def test_refuses_parameters_that_are_not_real(dtype):
    optimizer = PercentDelta([torch.nn.Parameter(torch.ones(1))])
    parameter = torch.zeros(2, dtype=dtype)
    with pytest.raises(pd.InvalidArgumentError, match="parameter 1 of group 1, shape .2.: expected "
                       f"real floating-point numbers, got {dtype}"):
        optimizer.add_param_group({"params": [torch.zeros(1), parameter]})
    assert len(optimizer.param_groups) == 1


def test_refuses_no_parameters():
    with pytest.raises(ValueError, match="empty parameter list"):
        PercentDelta([])


@pytest.mark.parametrize("bad, got", [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_refuses_a_gradient_that_is_not_finite(bad, got, dtype):
    """As the servers, and before anything has changed."""
    first, second = make_parameters(dtype)[3:5]
    optimizer = PercentDelta([first, second], momentum=0.9)
    set_gradients([first, second], 0)
    optimizer.step()
    kept = copy.deepcopy([first, second, optimizer.state_dict()["state"]])
    set_gradients([first, second], 1)
    second.grad[2, 1, 0, 2] = bad
    with pytest.raises(pd.GradientError) as error:
        optimizer.step()
    assert str(error.value) == (
        "PercentDelta: gradient of parameter 1 of group 0, shape [5, 5, 2, 3]: expected finite "
        f"values, got {got} at entry 68")
    assert torch.equal(first, kept[0]) and torch.equal(second, kept[1])
    for key, state in optimizer.state_dict()["state"].items():
        assert torch.equal(state["momentum_buffer"], kept[2][key]["momentum_buffer"])
    second.grad[2, 1, 0, 2] = 0
    optimizer.step()
    assert not torch.equal(first, kept[0])


def test_refuses_a_weight_that_is_not_finite():
    parameter = torch.nn.Parameter(torch.tensor([1.0, math.nan]))
    parameter.grad = torch.ones(2)
    with pytest.raises(pd.GradientError, match=r"value of parameter 0 .*got nan at entry 1"):
        PercentDelta([parameter]).step()


def test_refuses_sparse_gradients():
    module = torch.nn.Embedding(5, 2, sparse=True)
    module(torch.tensor([1, 3])).sum().backward()
    with pytest.raises(pd.GradientError, match=r"parameter 0 of group 0, shape \[5, 2\]: expected a"
                       r" dense tensor, got layout torch.sparse_coo"):
        PercentDelta(module.parameters()).step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_stays_within_the_type(dtype):
    """As the servers limit what they store: no step makes an infinity."""
    most = torch.finfo(dtype).max
    parameter = torch.nn.Parameter(torch.tensor([most, -most], dtype=dtype))
    parameter.grad = torch.tensor([-1.0, 1.0], dtype=dtype)
    optimizer = PercentDelta([parameter], lr=0.5, momentum=0.9)
    for _ in range(9):
        optimizer.step()
    assert parameter.tolist() == [most, -most]
    assert optimizer.state[parameter]["momentum_buffer"].tolist() == [-most, most]


def test_is_an_optimizer_like_any_other():
    """What libraries do with optimizers: copy, pickle, print, hook, schedule by any scheduler."""
    module = torch.nn.Linear(3, 1)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    optimizer = PercentDelta(module.parameters(), lr=0.1, momentum=0.9, dampening=0.9)
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert "lr: 0.1" in repr(optimizer)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=200, cycle_momentum=True, base_momentum=0.5)
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    targets = inputs @ torch.tensor([[1.0], [2.0], [3.0]]) + 0.25
    losses = []
    for _ in range(200):
        optimizer.zero_grad(set_to_none=True)
        loss = ((module(inputs) - targets) ** 2).mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.01 * losses[0]
    assert copy.deepcopy(optimizer).state_dict()["param_groups"] == (
        optimizer.state_dict()["param_groups"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_follows_cpu():
    on_cpu = make_parameters()
    on_gpu = [torch.nn.Parameter(p.detach().cuda()) for p in on_cpu]
    optimizers = [PercentDelta(on_cpu, **ALL), PercentDelta(on_gpu, **ALL)]
    for step in range(10):
        set_gradients(on_cpu, step)
        for a, b in zip(on_cpu, on_gpu):
            b.grad = a.grad.cuda()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(on_cpu, on_gpu):
        torch.testing.assert_close(b.detach().cpu(), a.detach(), rtol=1e-6, atol=0)
