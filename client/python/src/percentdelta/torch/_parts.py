# SPDX-License-Identifier: Apache-2.0
"""What a module consists of, and which tensor of a job each part is."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Dict, Iterable, Iterator, List, Set, Tuple

import torch

from percentdelta._text import quoted
from percentdelta.errors import Error
from percentdelta.job import Job

_SHOWN = 5  # names in a message


class ModuleError(Error, ValueError):
    """A module that cannot be trained, or does not fit the job: what differs."""


@dataclasses.dataclass
class Part:
    """A parameter or buffer of a module.

    name      as in named_parameters(), "blocks.0.conv.weight"
    tensor_name  in the job, "blocks.0.conv/weight"
    owner, key   the submodule that has it, and its name there
    value     the torch.Tensor as it was found
    kind      "trained"   a parameter with requires_grad
              "frozen"    a parameter without
              "state"     a buffer that belongs to the module's state, of finite floating-point
                          numbers: the running mean of a batch normalization
              "counter"   num_batches_tracked of a batch normalization
              "constant"  any other buffer
    """

    name: str
    tensor_name: str
    owner: Any
    key: str
    value: Any
    kind: str

    @property
    def shape(self) -> Tuple[int, ...]:
        """Of the value."""
        return tuple(self.value.shape)


def parts_of(module: Any) -> List[Part]:
    """All parameters and buffers in the order of named_modules(), which is usually that of the
    forward pass; what is used in several places once, under its first name. Raises ModuleError."""
    if not isinstance(module, torch.nn.Module):
        raise ModuleError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    module = getattr(module, "_orig_mod", module)  # torch.compile's wrapper has names of its own
    children = {name for name, _ in module.named_children()}
    root = "root"
    while root in children:
        root += "_"
    parts: List[Part] = []
    seen: Set[int] = set()
    for prefix, owner in module.named_modules():
        for key, value in [*owner._parameters.items(), *owner._buffers.items()]:
            if value is None or id(value) in seen:
                continue
            seen.add(id(value))
            name = f"{prefix}.{key}" if prefix else key
            parts.append(Part(name, f"{prefix or root}/{key}", owner, key, value,
                              _kind(name, owner, key, value)))
    _check_memory(parts)
    return parts


def _kind(name: str, owner: Any, key: str, value: Any) -> str:
    if torch.nn.parameter.is_lazy(value):
        raise ModuleError(f"module: {name} has no shape yet: call the module once, so that its "
                          f"lazy parts take their shapes")
    if key in owner._parameters:
        if not value.requires_grad:
            return "frozen"
        if not value.is_floating_point() or value.layout != torch.strided:
            raise ModuleError(f"module: {name}: expected a dense parameter of real floating-point "
                              f"numbers, got {value.dtype}, {value.layout}")
        return "trained"
    if key == "num_batches_tracked" and value.dim() == 0 and not value.is_floating_point():
        return "counter"
    if (value.is_floating_point() and value.layout == torch.strided and value.numel() > 0
            and key not in owner._non_persistent_buffers_set
            and bool(torch.isfinite(value).all())):
        return "state"
    return "constant"


def _check_memory(parts: Iterable[Part]) -> None:
    """What shares memory without being one object would come apart."""
    by_address: Dict[Tuple[str, int], Part] = {}
    for part in parts:
        if part.kind != "trained" or part.value.numel() == 0:
            continue
        where = (str(part.value.device), part.value.data_ptr())
        other = by_address.setdefault(where, part)
        if other is not part:
            raise ModuleError(
                f"module: {other.name} and {part.name} share memory, but are different parameters: "
                f"assign one torch.nn.Parameter to both places, which shares it")


def _list(names: Iterable[str]) -> str:
    all_names = list(names)
    more = f" and {len(all_names) - _SHOWN} more" if len(all_names) > _SHOWN else ""
    return ", ".join(all_names[:_SHOWN]) + more


def _differences(parts: Dict[str, Part], job: Job) -> Iterator[str]:
    tensors = {tensor.name: tensor for tensor in job.model.tensors}
    missing = [name for name in tensors if name not in parts]
    if missing:
        yield f"the module lacks {_list(missing)}"
    surplus = [name for name, part in parts.items()
               if part.kind == "trained" and name not in tensors]
    if surplus:
        yield f"the job lacks {_list(surplus)}"
    both = [(tensors[name], part) for name, part in parts.items() if name in tensors]
    shapes = [f"{tensor.name} (job {list(tensor.shape)}, module {list(part.shape)})"
              for tensor, part in both if tensor.shape != part.shape]
    if shapes:
        yield f"other shapes: {_list(shapes)}"
    frozen = [tensor.name for tensor, part in both if part.kind == "frozen" and not tensor.buffer]
    if frozen:
        yield f"the job trains, but the module has requires_grad=False for {_list(frozen)}"
    trained = [tensor.name for tensor, part in both
               if part.kind == "trained" and tensor.buffer]
    if trained:
        yield f"a buffer in the job, but a trained parameter in the module: {_list(trained)}"
    untrainable = [tensor.name for tensor, part in both
                   if not tensor.buffer and part.kind not in ("trained", "frozen")]
    if untrainable:
        yield f"trained in the job, but a buffer in the module: {_list(untrainable)}"
    unreal = [tensor.name for tensor, part in both
              if tensor.buffer and not part.value.is_floating_point()]
    if unreal:
        yield f"a buffer in the job, but not of floating-point numbers: {_list(unreal)}"


def match(module: Any, job: Job) -> Tuple[List[Part], List[Part]]:
    """The parts that are tensors of the job, in the job's order, and those that are not. Raises
    ModuleError, which names everything that differs."""
    parts = {part.tensor_name: part for part in parts_of(module)}
    differences = list(_differences(parts, job))
    if differences:
        raise ModuleError(f"the module {type(module).__name__} does not fit the job "
                          f"{quoted(job.name)}: {'; '.join(differences)}. job_for() makes a job "
                          f"that fits")
    in_job = {tensor.name for tensor in job.model.tensors}
    return ([parts[tensor.name] for tensor in job.model.tensors],
            [part for name, part in parts.items() if name not in in_job])


def fingerprint(parts: Iterable[Part], data: str) -> str:
    """What workers of one cluster must have in common besides the job: `data`, and the values of
    the parts that are not in the job."""
    constants = [part for part in parts if part.kind != "counter"]
    if not constants:
        return data
    digest = hashlib.sha256(data.encode())
    for part in sorted(constants, key=lambda part: part.name):
        value = part.value.detach()
        value = value.to_dense() if value.layout != torch.strided else value
        digest.update(f"\n{part.name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                      if value.numel() > 0 else b"")
    return digest.hexdigest()
