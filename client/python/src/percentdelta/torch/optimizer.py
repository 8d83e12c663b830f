# SPDX-License-Identifier: Apache-2.0
"""PercentDelta as an optimizer of PyTorch's, for training without servers.

    optimizer = PercentDelta(module.parameters(), lr=0.06, eps=1e-4, momentum=0.9, dampening=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: max(0.01, 1 - 5e-4 * t))
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss(module(inputs), targets).backward()
        optimizer.step()
        schedule.step()
"""

import numbers
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

import torch

from percentdelta.errors import GradientError, InvalidArgumentError

_MIN_MAGNITUDE = 1e-37  # of a job's numbers (job.proto)
_MAX_MAGNITUDE = 1e37

# Entries that are computed at a time: their double-precision copies stay in the cache of a CPU, and
# are few calls on a GPU.
_CPU_PIECE = 1 << 18
_GPU_PIECE = 1 << 24

_WITHOUT_DOUBLE = ("mps",)  # devices that have no double precision


class PercentDelta(torch.optim.Optimizer):
    """Abu-El-Haija, "Proportionate gradient updates with PercentDelta", 2017: every tensor changes
    by about the fraction `lr` of its value a step. With the gradient g of a tensor W of n entries,

        r     = sum_i |g_i| / (|W_i| + eps) / n          Equation 7; footnote 2
        delta = lr / r * g, or 0 where r = 0             Equation 6
        v     = momentum * v + (1 - dampening) * delta   v = 0 before the first step
        W     = W - v - lr * weight_decay * W

    and with `nesterov` W = W - (momentum * v + (1 - dampening) * delta) - ..., with the new v. This
    is what the servers do, to rounding: on float32 parameters, with the gradients that the servers
    get, the weights follow theirs. A job's schedule is a `torch.optim.lr_scheduler` here.

    Arguments, of which all but the first may differ between parameter groups:
        params        parameters, or groups of them, as for any optimizer: dense and real
        lr            eta of the paper, >= 0: 0.03 is 3 % a step
        eps           > 0, moves the divisors away from zero; larger values make the layers' rates
                      more equal
        momentum      0 <= momentum < 1
        dampening     0 <= dampening < 1. Usually equal to momentum: with 0, momentum multiplies the
                      rate by up to 1 / (1 - momentum). Unlike SGD's of PyTorch, it damps the first
                      step, too, and counts without momentum
        nesterov      looks ahead
        weight_decay  >= 0; decoupled, as AdamW's
        maximize      goes up the gradient
    Raises InvalidArgumentError (a ValueError) for one out of range.

    A tensor of zeros can only move by lr * eps a step: give biases an initial value, such as 0.1.
    Clipping the gradients' norms has no effect: the rule does not depend on their length. Nor does
    a GradScaler's factor, but it keeps small gradients of float16 from being rounded to zero.

    Sums and steps are computed in double precision, then rounded to the parameter's type and
    limited to its largest number. `momentum_buffer` in the state has the parameter's type as well.
    Needs up to three copies in double precision of 262,144 entries (CPU) or 16.8 million (GPU) at a
    time, or of a whole tensor that is not contiguous.
    """

    def __init__(self, params: Union[Iterable[Any], Iterable[Dict[str, Any]]], lr: float = 0.03,
                 eps: float = 1e-4, momentum: float = 0.0, dampening: float = 0.0,
                 nesterov: bool = False, weight_decay: float = 0.0, *,
                 maximize: bool = False) -> None:
        super().__init__(params, {
            "lr": lr, "eps": eps, "momentum": momentum, "dampening": dampening,
            "nesterov": nesterov, "weight_decay": weight_decay, "maximize": maximize})

    def add_param_group(self, param_group: Dict[str, Any]) -> None:
        """Adds parameters with options of their own. Raises InvalidArgumentError, and leaves the
        optimizer as it was, for an option out of range or a parameter that is not real."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            _check_options(group)
            for index, parameter in enumerate(group["params"]):
                if not parameter.is_floating_point():
                    raise InvalidArgumentError(
                        f"PercentDelta: {_name(group, len(self.param_groups) - 1, index)}: "
                        f"expected real floating-point numbers, got {parameter.dtype}")
        except InvalidArgumentError:
            self.param_groups.pop()
            raise

    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:
        """Changes the parameters by their gradients. A parameter without one (`grad` is None) stays
        as it is, its momentum, too; under a gradient of zeros its momentum moves it on.

        `closure`, if given, is called before to compute the gradients, and its loss is returned.

        Raises GradientError (a ValueError), before anything is changed, for a gradient that is
        sparse or not finite, as the servers refuse it. (This waits for the GPU, once a step. With
        mixed precision, GradScaler skips such steps.)
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            entries = list(self._entries())
            ratios = [_mean_ratio(entry.parameter, entry.gradient, entry.group["eps"])
                      for entry in entries]
            _refuse_non_finite(entries, ratios)
            for entry, ratio in zip(entries, ratios):
                self._move(entry, ratio)
        return loss

    def _entries(self) -> "Iterator[_Entry]":
        for number, group in enumerate(self.param_groups):
            for index, parameter in enumerate(group["params"]):
                gradient = parameter.grad
                if gradient is None or parameter.numel() == 0:
                    continue
                name = _name(group, number, index)
                if gradient.layout != torch.strided:
                    raise GradientError(
                        f"PercentDelta: gradient of {name}: expected a dense tensor, got layout "
                        f"{gradient.layout}; make it dense, as by Embedding(sparse=False)")
                yield _Entry(group, name, parameter, gradient)

    def _move(self, entry: "_Entry", ratio: torch.Tensor) -> None:
        group, parameter = entry.group, entry.parameter
        factor = torch.where(ratio > 0, group["lr"] / ratio, torch.zeros_like(ratio))
        factor.clamp_(max=torch.finfo(factor.dtype).max)
        if group["maximize"]:
            factor.neg_()
        tensors = [parameter, entry.gradient]
        if group["momentum"] != 0:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            tensors.append(state["momentum_buffer"])
        for piece in _pieces(*tensors):
            _move_piece(group, factor, *piece)


class _Entry(NamedTuple):
    """A parameter that has a gradient."""

    group: Dict[str, Any]
    name: str  # in errors
    parameter: torch.Tensor
    gradient: torch.Tensor


def _name(group: Dict[str, Any], number: int, index: int) -> str:
    """What errors call a parameter."""
    names = group.get("param_names")  # newer PyTorch, where it was given named_parameters()
    name = f' "{names[index]}"' if names else ""
    return f"parameter {index}{name} of group {number}, shape {list(group['params'][index].shape)}"


def _check_options(group: Dict[str, Any]) -> None:
    def check(name: str, holds: Callable[[float], bool], expected: str) -> None:
        value = group[name]
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise InvalidArgumentError(f"PercentDelta: {name}: expected a number, got {value!r}")
        if not holds(float(value)):
            raise InvalidArgumentError(f"PercentDelta: {name}: expected {expected}, got {value:g}")

    span = f"{_MIN_MAGNITUDE:g}..{_MAX_MAGNITUDE:g}"
    for name in ("lr", "weight_decay"):
        check(name, lambda x: x == 0 or _MIN_MAGNITUDE <= x <= _MAX_MAGNITUDE,
              f"0 or a number in {span}")
    check("eps", lambda x: _MIN_MAGNITUDE <= x <= _MAX_MAGNITUDE, f"a positive number in {span}")
    for name in ("momentum", "dampening"):
        check(name, lambda x: x == 0 or _MIN_MAGNITUDE <= x < 1,
              f"0 or a number in [{_MIN_MAGNITUDE:g}, 1)")


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """In double precision. May be the same tensor."""
    return tensor.to(torch.float32 if tensor.device.type in _WITHOUT_DOUBLE else torch.float64)


def _pieces(*tensors: torch.Tensor) -> Iterator[Tuple[torch.Tensor, ...]]:
    """Views of the same entries of each of the tensors, which are of one shape."""
    size = _CPU_PIECE if tensors[0].device.type == "cpu" else _GPU_PIECE
    if tensors[0].numel() <= size or not all(tensor.is_contiguous() for tensor in tensors):
        return iter((tensors,))
    return zip(*(torch.split(tensor.view(-1), size) for tensor in tensors))


def _mean_ratio(parameter: torch.Tensor, gradient: torch.Tensor, eps: float) -> torch.Tensor:
    """The mean of |g / (W + eps * sgn(W))|, a scalar on the parameter's device. Finite only if the
    gradient is: no quotient of finite float32 numbers comes near the range of double precision."""
    sums = [_wide(g.abs()).div_(_wide(w.abs()).add_(eps)).sum()
            for w, g in _pieces(parameter, gradient)]
    return torch.stack(sums).sum() / parameter.numel()


def _refuse_non_finite(entries: List[_Entry], ratios: List[torch.Tensor]) -> None:
    finite = [torch.isfinite(ratio) for ratio in ratios]
    by_device: Dict[torch.device, List[torch.Tensor]] = {}
    for flag in finite:
        by_device.setdefault(flag.device, []).append(flag)
    if all(bool(torch.stack(flags).all()) for flags in by_device.values()):
        return
    entry = next(entry for entry, flag in zip(entries, finite) if not flag)
    for what, tensor in (("gradient", entry.gradient), ("value", entry.parameter)):
        values = tensor.reshape(-1)
        bad = torch.isfinite(values).logical_not().nonzero()
        if len(bad) > 0:
            at = int(bad[0])
            raise GradientError(f"PercentDelta: {what} of {entry.name}: expected finite values, "
                                f"got {float(values[at]):g} at entry {at}")
    raise GradientError(f"PercentDelta: gradient of {entry.name}: expected |g / W| within the "
                        "range of double precision, got more")


def _store(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Rounds `values`, which it may overwrite, to the tensor's type and range."""
    most = torch.finfo(tensor.dtype).max
    tensor.copy_(values.clamp_(-most, most))


def _move_piece(group: Dict[str, Any], factor: torch.Tensor, weights: torch.Tensor,
                gradient: torch.Tensor, velocity: Optional[torch.Tensor] = None) -> None:
    change = (_wide(gradient) * factor).mul_(1 - group["dampening"])
    v = change
    if velocity is not None:
        v = (_wide(velocity) * group["momentum"]).add_(change)
        change = change.add_(v, alpha=group["momentum"]) if group["nesterov"] else v
    before = _wide(weights)
    after = before - change
    if group["weight_decay"] != 0:
        after.sub_(before, alpha=group["lr"] * group["weight_decay"])
    _store(weights, after)
    if velocity is not None:
        _store(velocity, v)
