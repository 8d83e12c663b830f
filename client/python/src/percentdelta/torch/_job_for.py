# SPDX-License-Identifier: Apache-2.0
"""Makes the job that trains a module."""

from __future__ import annotations

import logging
import os
import re
from typing import Any, Dict, List, Optional, Union

import torch

from percentdelta import initial_weights
from percentdelta.job import Data, InitialWeights, Job, Model, Optimizer, PercentDelta, Tensor
from percentdelta.torch._parts import ModuleError, Part, parts_of

_log = logging.getLogger("percentdelta")

_Path = Union[str, "os.PathLike[str]"]


def _array(part: Part) -> Any:
    """Of float32, in the order of the job's shape."""
    value = part.value.detach()
    value = value.to_dense() if value.layout != torch.strided else value
    return value.to("cpu", torch.float32).contiguous().numpy()


def save_weights(module: torch.nn.Module, path: _Path) -> InitialWeights:
    """Writes the module's present parameters and floating-point buffers to a safetensors file,
    under the names of a job's tensors, and returns what a Job takes as `initial_weights`. Raises
    JobError or ModuleError."""
    return initial_weights.save(path, _arrays(parts_of(module)))


def _arrays(parts: List[Part]) -> Dict[str, Any]:
    return {part.tensor_name: _array(part) for part in parts
            if part.kind in ("trained", "state")
            or (part.kind == "frozen" and part.value.is_floating_point())}


def job_for(module: torch.nn.Module, dataset: Any = None, test_dataset: Any = None, *,
            optimizer: Optimizer, batch_size: int, max_steps: int,
            weights_file: Optional[_Path] = None, name: Optional[str] = None,
            frozen_in_job: bool = False, **fields: Any) -> Job:
    """The job that trains `module` from its present values.

        job = job_for(module, dataset, optimizer=Optimizer(0.06, PercentDelta(1e-4)),
                      batch_size=100, max_steps=500, seed=1)

    Parameters that require gradients become tensors, tied ones a single one. "blocks.0.conv.weight"
    is the tensor "blocks.0.conv/weight" of layer "blocks.0.conv"; the parameter "scale" of the
    module itself is "root/scale". Persistent buffers of finite floating-point numbers, such as the
    running means of batch normalizations, become tensors with buffer=True: their next value is the
    mean of what the step's workers computed. Everything else is not part of the job: every worker
    makes it alike, and train() has the cluster compare its hash.

    dataset, test_dataset  whatever has a length; the field `data` may be given instead
    optimizer, batch_size, max_steps  as all of `fields`: those of Job, whose defaults apply
    weights_file   where the present values are written, as a safetensors file that all servers
                   see under this path. None: NAME.safetensors in the working directory
    name           None: the class's
    frozen_in_job  whether parameters without requires_grad become tensors with buffer=True. They
                   then reach the workers and the checkpoints with the job, and are transferred in
                   each step as all others

    Raises ModuleError if the module cannot be trained, JobError if the job is not valid or the file
    cannot be written.
    """
    parts = parts_of(module)
    kind = _file_name(type(getattr(module, "_orig_mod", module)).__name__)
    name = kind if name is None else name
    if not any(part.kind == "trained" for part in parts):
        raise ModuleError(f"module: {kind} has no parameter with requires_grad=True")
    _warn_of_zeros(parts, optimizer)
    if "data" not in fields:
        if dataset is None:
            raise ModuleError("job_for: expected the data set, or data=percentdelta.Data(...), got "
                              "neither")
        fields["data"] = Data(len(dataset), 0 if test_dataset is None else len(test_dataset))
    kinds = ("trained", "state", "frozen") if frozen_in_job else ("trained", "state")
    chosen = [part for part in parts if part.kind in kinds
              and (part.kind != "frozen" or part.value.is_floating_point())]
    tensors = tuple(Tensor(part.tensor_name, part.shape, buffer=part.kind != "trained")
                    for part in chosen)
    model = Model(f"torch.{kind}", tensors)
    arguments = dict(name=name, model=model, optimizer=optimizer, batch_size=batch_size,
                     max_steps=max_steps, **fields)
    Job(**arguments)  # what is not valid is refused before the file is written
    path = f"{_file_name(name)}.safetensors" if weights_file is None else weights_file
    return Job(initial_weights=initial_weights.save(path, _arrays(chosen)), **arguments)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)


def _warn_of_zeros(parts: List[Part], optimizer: Optimizer) -> None:
    if not isinstance(optimizer.rule, PercentDelta):
        return
    zeros = [part.name for part in parts if part.kind == "trained" and not bool(part.value.any())]
    if zeros:
        _log.warning("job_for: %s %s: PercentDelta changes a tensor by a fraction of its value, "
                     "and one of zeros by hardly anything; give it other initial values",
                     ", ".join(zeros[:5]) + (" and others" if len(zeros) > 5 else ""),
                     "is all zero" if len(zeros) == 1 else "are all zero")
