# SPDX-License-Identifier: Apache-2.0
"""A module whose values are those of the cluster: pulled ahead of the forward pass, pushed by the
backward pass.

What happens to a lease, in this order:

 1. load() begins the pull. A parameter on the CPU in PyTorch's usual layout becomes a view of the
    memory that the values arrive in, if that is aligned as PyTorch's own is: the last bits of a
    product may depend on it. Values of all other parameters and of buffers are copied.
 2. The forward pass, within forward(), waits for each parameter when it comes to use it: by a hook
    of the submodule that owns it, and for what a submodule takes from another one, by a mode that
    sees the arguments of all of PyTorch's functions. has_noticed() checks autograd's graph for
    uses that both have missed; if there are any, the forward pass is repeated after waiting
    for all parameters.
 3. push_buffers(): what the forward pass has made of the buffers leaves.
 4. backward(): each gradient leaves when autograd has accumulated it. A backward pass that may run
    others within (a custom autograd.Function, as reentrant checkpoints are) makes gradients in
    several parts: then all leave at its end.
 5. release(), after the servers have taken them.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from percentdelta.job import Job
from percentdelta.lease import Lease, Weights
from percentdelta.torch._parts import ModuleError, Part, fingerprint, match


_ALIGNMENT = 64  # of PyTorch's memory, in bytes


class _Entry:
    """A part of the module that is a tensor of the job. `may_be_view`: of the memory of the pull;
    `is_view`: it is one now."""

    def __init__(self, index: int, part: Part) -> None:
        value = part.value
        self.index = index
        self.name = part.tensor_name
        self.part = part
        self.value = value
        self.trained = part.kind == "trained"
        self.may_be_view = (self.trained and value.device.type == "cpu"
                            and value.dtype == torch.float32 and value.is_contiguous())
        self.is_view = False
        self.own = value.data  # memory of its own, while it is no view
        self.zeros: Any = None  # the gradient, where there is none

    def point_to(self, view: Any) -> None:
        """Makes the parameter the view, or gives it memory of its own."""
        self.is_view = view.data_ptr() % _ALIGNMENT == 0
        if self.is_view:
            self.own = None
        elif self.own is None or self.own.data_ptr() % _ALIGNMENT != 0:
            self.own = torch.empty(self.part.shape)
        self.value.data = view if self.is_view else self.own


class _WaitForArguments(TorchFunctionMode):
    """Before a function of PyTorch's runs, its arguments have arrived."""

    def __init__(self, wait: Callable[[Any], None]) -> None:
        super().__init__()
        self._wait = wait

    def __torch_function__(self, function: Any, types: Any, args: Any = (),
                           kwargs: Any = None) -> Any:
        for argument in args:
            self._wait(argument)
            if isinstance(argument, (list, tuple)):
                for each in argument:
                    self._wait(each)
        if kwargs:
            for argument in kwargs.values():
                self._wait(argument)
            return function(*args, **kwargs)
        return function(*args)


@contextlib.contextmanager
def _indexing_waits(wait: Callable[[Any], None]) -> Iterator[None]:
    """What the mode of PyTorch 1.13 does not see is parameter[0] and parameter[:9]."""
    def get(parameter: Any, index: Any) -> Any:
        wait(parameter)
        return torch.Tensor.__getitem__(parameter, index)

    torch.nn.Parameter.__getitem__ = get
    try:
        yield
    finally:
        del torch.nn.Parameter.__getitem__


def _survey(root: Any) -> Tuple[bool, Set[int]]:
    """Of autograd's graph: whether it has a custom autograd.Function; ids of the parameters."""
    runs_python = False
    parameters: Set[int] = set()
    seen: Set[Any] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            runs_python = True
        following = node.next_functions
        if not following and hasattr(node, "variable"):
            parameters.add(id(node.variable))
        waiting.extend(each for each, _ in following)
    return runs_python, parameters


def _on_accumulated(parameter: Any, call: Callable[[], None]) -> Tuple[Any, Any]:
    """Has `call` called when a backward pass has set the parameter's gradient. The handle, and what
    must be kept as long."""
    if hasattr(parameter, "register_post_accumulate_grad_hook"):
        return parameter.register_post_accumulate_grad_hook(lambda _: call()), None
    node = parameter.expand_as(parameter).grad_fn.next_functions[0][0]
    return node.register_hook(lambda *_: call()), node


def _before_all(module: Any, hook: Callable[..., None]) -> Any:
    """A forward pre-hook that runs before those that are there."""
    handle = module.register_forward_pre_hook(hook)
    module._forward_pre_hooks.move_to_end(handle.id, last=False)
    return handle


class BoundModule:
    """Used by one thread, apart from the hooks. Raises ModuleError if the module does not fit the
    job. close() gives the module memory of its own again."""

    def __init__(self, module: Any, job: Job) -> None:
        self.module = module
        parts, others = match(module, job)
        self._entries = [_Entry(i, part) for i, part in enumerate(parts)]
        self._counters = [part.value for part in others if part.kind == "counter"]
        self._constants = [(part, part.value._version) for part in others
                           if part.kind in ("frozen", "constant")]
        self._others = others
        self._views: List[Tuple[List[Any], List[Any]]] = []  # of the pull's arrays, as tensors
        self._pending: Dict[int, _Entry] = {}  # not known to have arrived; by id of the value
        self._unnoticed: Set[int] = set()  # what had not been waited for after the forward pass
        self._runs_python = False
        self._weights: Optional[Weights] = None
        self._lease: Optional[Lease] = None
        self._early = False  # gradients leave when they are made
        self._pushed: Set[int] = set()
        self._versions: List[int] = []
        self._kept: List[Any] = []
        self._handles: List[Any] = []
        self._overlaps = not hasattr(module, "_orig_mod") and not any(
            isinstance(each, torch.jit.ScriptModule) for each in module.modules())
        self._add_hooks()

    def _add_hooks(self) -> None:
        owners: Dict[int, Tuple[Any, List[int]]] = {}
        for entry in self._entries:
            owners.setdefault(id(entry.part.owner), (entry.part.owner, []))[1].append(
                id(entry.value))
            if entry.trained:
                handle, node = _on_accumulated(
                    entry.value, lambda entry=entry: self._on_gradient(entry))  # type: ignore
                self._handles.append(handle)
                self._kept.append(node)
        for owner, values in owners.values() if self._overlaps else ():
            self._handles.append(_before_all(
                owner, lambda *_, values=values: self._wait_for(values)))

    def fingerprint(self, data: str) -> str:
        """See _parts.fingerprint."""
        return fingerprint(self._others, data)

    # ---- weights -------------------------------------------------------------------------------

    def load(self, lease: Lease) -> None:
        """Begins to give the module the values of the lease's step."""
        weights = lease.pull()
        views = self._views_of(weights)
        self._lease, self._weights = lease, weights
        self._pushed.clear()
        self._pending.clear()
        for entry in self._entries:
            if entry.may_be_view:
                entry.point_to(views[entry.index])
            elif entry.part.key in entry.part.owner._buffers:  # it may have been assigned anew
                entry.part.owner._buffers[entry.part.key] = entry.value
            self._pending[id(entry.value)] = entry
        for entry in self._entries:
            if not entry.trained or weights.is_there(entry.name):  # buffers arrive early
                self._wait(entry.value)
        for counter in self._counters:
            counter.data.fill_(lease.step)
        self._versions = [entry.value._version for entry in self._entries]

    def _views_of(self, weights: Weights) -> List[Any]:
        arrays = weights.arrays
        for known, views in self._views:
            if known is arrays:
                return views
        views = [torch.from_numpy(array).view(entry.part.shape)
                 for array, entry in zip(arrays, self._entries)]
        self._views = [*self._views[-1:], (arrays, views)]
        return views

    def _wait(self, value: Any) -> None:
        """For a tensor of the job; does nothing for anything else."""
        entry = self._pending.get(id(value))
        if entry is None or self._weights is None:
            return
        self._weights.wait(entry.name)
        if not entry.is_view:
            entry.value.data.copy_(self._views_of(self._weights)[entry.index])
        self._pending.pop(id(value), None)

    def _wait_for(self, values: List[int]) -> None:
        if self._lease is not None:
            self._lease.progress()
        for each in values:
            entry = self._pending.get(each)
            if entry is not None:
                self._wait(entry.value)

    def wait_all(self) -> None:
        """Returns when the module has all values of the step."""
        for entry in list(self._pending.values()):
            self._wait(entry.value)

    @property
    def is_whole(self) -> bool:
        """Whether the module has the values of one step, or still its own."""
        return not self._pending

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """Within it the module may be called; at its end all values have arrived."""
        self._unnoticed.clear()
        if self._pending and self._overlaps:
            with _indexing_waits(self._wait), _WaitForArguments(self._wait):
                yield
            self._unnoticed = set(self._pending)
            self.wait_all()
        else:
            self.wait_all()
            yield

    def has_noticed(self, loss: Any) -> bool:
        """Whether the forward pass used no parameter before it was waited for. If it did, the next
        one waits for all before it begins."""
        self._runs_python, used = _survey(loss.grad_fn)
        if used.isdisjoint(self._unnoticed):
            return True
        self._overlaps = False
        return False

    # ---- gradients -----------------------------------------------------------------------------

    def push_buffers(self) -> None:
        """Sends what the forward pass has made of the buffers. Raises ModuleError if it has changed
        what is not to be changed."""
        for part, version in self._constants:
            owned = (part.owner._buffers if part.key in part.owner._buffers
                     else part.owner._parameters)
            if owned.get(part.key) is not part.value or part.value._version != version:
                raise ModuleError(
                    f"module: {part.name} is not a tensor of the job, and expected to be constant, "
                    f"but the forward pass has changed it: what changes from step to step must be "
                    f"a persistent buffer of floating-point numbers")
        for entry in self._entries:
            if entry.trained:
                continue
            part = entry.part
            value = part.owner._buffers.get(part.key, entry.value).detach()
            if tuple(value.shape) != part.shape:
                raise ModuleError(f"module: buffer {part.name}: expected shape {list(part.shape)} "
                                  f"after the forward pass, got {list(value.shape)}")
            self._send(entry, value if part.kind == "frozen" else value.clone())

    def backward(self, loss: Any) -> None:
        """Computes the gradients and sends them; zeros for parameters that have none. Must follow
        has_noticed()."""
        self._early = not self._runs_python
        try:
            loss.backward()
        finally:
            self._early = False
        for entry, version in zip(self._entries, self._versions):
            if entry.trained and entry.value._version != version:
                raise ModuleError(f"module: {entry.part.name} was changed in place: only the "
                                  f"servers change weights")
            if entry.trained and entry.index not in self._pushed:
                self._push_gradient(entry)

    def _on_gradient(self, entry: _Entry) -> None:
        if not self._early:
            if self._lease is not None:
                self._lease.progress()
            return
        if entry.index in self._pushed:
            raise ModuleError(f"module: the gradient of {entry.part.name} was accumulated twice in "
                              f"one backward pass")
        self._push_gradient(entry)

    def _push_gradient(self, entry: _Entry) -> None:
        gradient = entry.value.grad
        if gradient is None:
            if entry.zeros is None:
                entry.zeros = torch.from_numpy(np.zeros(entry.part.shape, np.float32))
            gradient = entry.zeros
        elif gradient.layout != torch.strided:
            gradient = gradient.to_dense()
        self._send(entry, gradient.detach())

    def _send(self, entry: _Entry, value: Any) -> None:
        self._pushed.add(entry.index)
        assert self._lease is not None
        self._lease.push(entry.name, value.to("cpu", torch.float32).contiguous().numpy())

    def release(self) -> None:
        """Frees the gradients."""
        self._lease = None
        for entry in self._entries:
            if entry.trained:
                entry.value.grad = None

    # ---- the end -------------------------------------------------------------------------------

    def close(self, weights: Any = None, step: Optional[int] = None) -> None:
        """Gives the module memory of its own, with `weights` ({name: array}) of that step if they
        are given, and removes the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._kept.clear()
        self.release()
        for entry in self._entries:
            if entry.part.key in entry.part.owner._buffers:
                entry.part.owner._buffers[entry.part.key] = entry.value
            if weights is not None:
                value = torch.from_numpy(np.asarray(weights[entry.name], np.float32))
                if entry.may_be_view:
                    entry.value.data = value.clone()  # aligned
                else:
                    entry.value.data.copy_(value)
            elif entry.is_view:
                entry.value.data = entry.value.data.clone()
            entry.is_view = False
        if step is not None:
            for counter in self._counters:
                counter.data.fill_(step)
        self._views.clear()
        self._weights = None
