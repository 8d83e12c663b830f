# SPDX-License-Identifier: Apache-2.0
"""A piece of work of a worker: a slot of a step, or a part of an evaluation."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import (Any, Callable, Iterator, List, Mapping, Optional, Set, Tuple, Type, Union,
                    overload)

import numpy as np

from percentdelta import _metrics, _wire
from percentdelta._pull import Pull
from percentdelta._push import Push
from percentdelta._session import Session
from percentdelta._shared_memory import Memory
from percentdelta._text import quoted
from percentdelta.batches import gradient_key
from percentdelta.errors import Error, GradientError, LeaseDropped, UsageError
from percentdelta.job import Tensor

_log = logging.getLogger("percentdelta")

_NOT_FINITE = "expected finite values"  # in the servers' message


class Weights(Mapping[str, Any]):
    """The weights of a lease's step: {name: float32 array of the job's shape}, read-only.

    They arrive tensor by tensor: looking one up, or wait(name), waits for that one alone. Valid
    until the next lease's pull(), which may reuse the memory. A wait raises LeaseDropped when the
    weights are gone or a server is away.
    """

    def __init__(self, tensors: Tuple[Tensor, ...], index: Mapping[str, int], pull: Pull,
                 arrays: List[Any], wait: Callable[[Pull, int], None]) -> None:
        self._tensors = tensors
        self._index = index
        self._pull = pull
        self._arrays = arrays
        self._wait = wait  # for one tensor

    def wait(self, name: Optional[str] = None) -> None:
        """Returns when the tensor, or all of them, are there. KeyError: no such tensor."""
        for i in range(len(self._arrays)) if name is None else (self._index[name],):
            self._wait(self._pull, i)

    def is_there(self, name: str) -> bool:
        """Whether wait(name) would return at once."""
        return self._pull.is_whole(self._index[name])

    @property
    def arrays(self) -> List[Any]:
        """A flat float32 array a tensor, in the job's order, that its values arrive in: not to be
        read before wait(), nor ever changed. The same list means the same memory."""
        return self._arrays

    def __getitem__(self, name: str) -> Any:
        self.wait(name)
        i = self._index[name]
        array = self._arrays[i].reshape(self._tensors[i].shape)
        array.flags.writeable = False
        return array

    def __iter__(self) -> Iterator[str]:
        return (tensor.name for tensor in self._tensors)

    def __len__(self) -> int:
        return len(self._arrays)


class Lease:
    """Made by Worker; a context manager:

        with lease:
            weights = lease.pull()
            ...
            lease.push(gradients)
            lease.complete(loss_sum, correct)

    ends silently with LeaseDropped, so that the loop over the worker goes on, and hands the lease
    back when anything else is raised. One of complete(), drop() and fail() must end it.

    kind           "train": compute and push the gradient of `examples`; "evaluate": their loss
    step           compute with the weights of exactly this step
    slot           which gradient of the step this is (train)
    epoch, batch_index  which batch of which epoch it takes (train)
    examples       indices into the training set (train) or the test set (evaluate), int64,
                   read-only: the written-down order, the same for every worker in every language
    random_key     names whatever is random in the gradient: RandomStream(random_key, example)
                   (train)

    push(), wait() of the weights and progress() may be called from any thread, the rest from the
    one that iterates over the worker.
    """

    def __init__(self, session: Session, fields: _wire.LeaseFields) -> None:
        self._session = session
        self._fields = fields
        self._index = session.index
        self.job = session.job
        self.kind = fields.kind
        self.step = fields.step
        self.slot = fields.slot
        self.epoch = fields.epoch
        self.batch_index = fields.batch_index
        self.examples = session.examples_of(fields)
        self._tensors = self.job.model.tensors
        self._lock = threading.Lock()
        self._push: Optional[Push] = None
        self._pushed: Set[int] = set()  # tensors
        self._memory: Optional[Memory] = None  # of gradient()
        self._gradients: List[Any] = []  # flat, in it
        self._weights: Optional[Weights] = None
        self._began = time.monotonic()
        self._waited = 0.0  # for weights, in seconds
        self._dropped: Optional[LeaseDropped] = None
        self.ended = False
        self._forgotten = False  # to be completed
        session.renewer.begin(fields)

    @property
    def random_key(self) -> int:
        """See the class."""
        return gradient_key(self.job.seed, self.step, self.slot)

    def __repr__(self) -> str:
        if self.kind == "train":
            return f"<train step {self.step} slot {self.slot}>"
        return (f"<evaluate step {self.step} examples {self._fields.first_example}.."
                f"{self._fields.first_example + self._fields.example_count - 1}>")

    def pull(self) -> Weights:
        """Begins to pull the weights, which may be under way already, and returns at once."""
        self._check_open()
        self._check_stays()
        if self._weights is None:
            source = self._session.source
            assert source is not None
            pull = source.turn(self.step)
            self._weights = Weights(self._tensors, self._index, pull, source.arrays, self._await)
        return self._weights

    def gradient(self, name: str) -> Any:
        """An array to compute the gradient of a tensor into: float32, of the tensor's shape, its
        values undefined. Pushing it needs neither a copy nor further memory, also for servers on
        this machine, if the weights have arrived before this is called. Valid until complete().

            grad = lease.gradient("dense/weights")
            np.matmul(inputs.T, errors, out=grad)
            lease.push("dense/weights", grad)
        """
        self._check_open()
        index = self._find(name)
        with self._lock:
            if self._memory is None:
                shards = self._session.shards
                assert shards is not None
                self._memory = (shards.memory.for_gradients() if self._push is None
                                else self._push.memory or Memory(shards.offsets[-1]))
                self._gradients = self._memory.arrays(shards.sizes)
        return self._gradients[index].reshape(self._tensors[index].shape)

    @overload
    def push(self, gradient: str, values: Any) -> None: ...

    @overload
    def push(self, gradient: Mapping[str, Any]) -> None: ...

    def push(self, gradient: Union[str, Mapping[str, Any]], values: Any = None) -> None:
        """Sends gradients: of one tensor, push(name, values), as soon as it is made, or of several,
        push({name: values}). Each tensor of the job once.

        Values of any floating-point type, of the tensor's shape, sent as float32: the gradient of
        the batch's mean loss; for a buffer, its new value. They must not change until complete()
        has returned; the lease does not keep the array once it is sent. GradientError: no such
        tensor, another shape or type, or pushed before. Never waits.
        """
        self._check_open()
        if self.kind != "train":
            raise UsageError(f"{self}: expected a push for a lease of kind train only")
        if not isinstance(gradient, str):
            for name, array in gradient.items():
                self.push(name, array)
            return
        index = self._find(gradient)
        flat = self._flat(index, values)
        with self._lock:
            if index in self._pushed:
                raise GradientError(f"{self}: expected each tensor once, got {gradient} again")
            self._pushed.add(index)
            if self._push is None:
                self._push = self._session.begin_push(self._fields, self._memory)
        self._push.ready(index, flat)
        self.progress()

    def progress(self) -> None:
        """Says that the work progresses: the lease is renewed only if this, a push or a wait was
        called since the last time. For computations longer than a few seconds."""
        self._session.renewer.progress()

    def complete(self, loss_sum: float, correct: int = 0, examples: Optional[int] = None, *,
                 metrics: Optional[Mapping[str, Tuple[float, float]]] = None) -> None:
        """Waits until the servers have taken the gradient, and reports the result.

        loss_sum   sum of the examples' losses (not their mean)
        correct    how many were classified right
        examples   of how many; None: of all in `examples`
        metrics    of your own, {name: (sum, count)}, as in {"squared_error": (12.5, pixels)}: the
                   servers add the sums and counts of a step's slots, or of an evaluation's leases,
                   in their order, and divide. At most 32, finite, counts above 0; names of up to
                   64 printable ASCII characters without blanks, quotes and backslashes

        UsageError: counts or metrics that are not as said. GradientError: a tensor has not been
        pushed. LeaseDropped: the servers did not take the gradient, or the loss or gradient is not
        finite; the coordinator receives the reason.
        """
        self._check_open()
        count = len(self.examples) if examples is None else examples
        if not 0 <= correct <= count or count > len(self.examples):
            raise UsageError(f"{self}: expected correct <= examples <= {len(self.examples)}, got "
                             f"correct {correct}, examples {count}")
        computed = time.monotonic()
        result = _wire.Result(loss_sum=float(loss_sum), correct=int(correct), examples=int(count),
                              pull=self._waited, compute=computed - self._began - self._waited)
        if not math.isfinite(result.loss_sum):
            self._raise_dropped(f"the loss of step {self.step} is not finite: the training "
                                f"diverges; take a smaller learning rate, or dampen the momentum",
                                True)
        result.metrics = _metrics.checked(repr(self), metrics)
        if self.kind == "train":
            self._finish_push()
            result.push = time.monotonic() - computed
        result.transport = self._session.transport
        self.ended = True
        self._pushed.clear()
        self._session.report(self._fields, result, None)

    def drop(self, reason: str) -> None:
        """Hands the lease back, for a cause that is not the work's: another worker gets it."""
        self._end(LeaseDropped(reason))

    def fail(self, reason: str) -> None:
        """Reports that the work could not be done. What no worker of at least two could do fails
        the training; a worker that fails at what another can do is sent away for a minute."""
        self._end(LeaseDropped(reason, at_fault=True))

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException],
                 trace: object) -> bool:
        if self.ended:
            # complete() has ended it, and then may have failed to reach the coordinator.
            return False
        if error is None and self._dropped is None:
            # A `break` perhaps; if the loop goes on, complete() was forgotten.
            self._forgotten = True
            self.drop("the worker did not complete it")
            return False
        dropped = error if isinstance(error, LeaseDropped) else self._dropped
        if dropped is not None and (error is None or error is dropped):
            self._end(dropped)
            return True
        try:
            if isinstance(error, Exception):
                self._end(LeaseDropped(f"{type(error).__name__}: {error}", at_fault=True),
                          leaving=True)
            else:  # KeyboardInterrupt and the like
                self._session.stop()
                self.drop("the worker leaves")
        except Error as unreported:  # the lease's deadline does the same
            _log.warning("%r could not be handed back: %s", self, unreported)
        return False

    def settle(self) -> None:
        """Called when the loop goes on: reports a lease that was dropped outside of `with`. Raises
        UsageError if the lease was to be completed."""
        if self.ended and not self._forgotten:
            return
        if not self.ended and self._dropped is not None:
            self._end(self._dropped)
            return
        if not self.ended:
            self.drop("the worker did not complete it")
        raise UsageError(f"{self}: expected complete(), drop() or fail() before the next lease")

    def _end(self, dropped: LeaseDropped, leaving: bool = False) -> None:
        self._check_open()
        self.ended = True
        if self._push is not None:
            self._push.cancel()
        self._pushed.clear()
        self._session.report(self._fields, _wire.Result(
            failure=str(dropped) or "dropped", at_fault=dropped.at_fault, leaving=leaving), dropped)

    def _check_open(self) -> None:
        if self.ended:
            raise UsageError(f"{self}: the lease has ended")

    def _check_stays(self) -> None:
        if self._session.abandoned:
            self._raise_dropped("the worker leaves")

    def _raise_dropped(self, reason: str, at_fault: bool = False, code: str = "") -> None:
        self._dropped = LeaseDropped(reason, at_fault, code)
        raise self._dropped

    def _names(self) -> List[str]:
        return [tensor.name for tensor in self._tensors]

    def _await(self, pull: Pull, index: int) -> None:
        if pull.is_whole(index):
            return
        began = time.monotonic()
        self.progress()
        try:
            pull.wait(index)
        except Error as error:
            self._raise_dropped(str(error), code=error.code)
        finally:
            self._waited += time.monotonic() - began
            self.progress()

    def _find(self, name: str) -> int:
        if name not in self._index:
            raise GradientError(f"{self}: expected a tensor of the job, got {quoted(name)}; "
                                f"there are {', '.join(self._names())}")
        return self._index[name]

    def _flat(self, index: int, values: Any) -> Any:
        """The gradient as it is sent; GradientError if it does not fit the tensor."""
        tensor = self._tensors[index]
        array = np.asarray(values)
        if array.dtype.kind != "f":
            raise GradientError(f"{self}: tensor {tensor.name}: expected floating-point numbers, "
                                f"got {array.dtype}")
        if array.shape != tensor.shape:
            raise GradientError(f"{self}: tensor {tensor.name}: expected shape "
                                f"{list(tensor.shape)}, got {list(array.shape)}")
        with np.errstate(over="ignore"):  # the servers refuse infinities
            return np.ascontiguousarray(array, np.float32).reshape(-1)

    def _finish_push(self) -> None:
        missing = [name for name in self._names() if self._index[name] not in self._pushed]
        if missing:
            raise GradientError(f"{self}: expected gradients of all tensors, got none of "
                                f"{', '.join(missing)}")
        assert self._push is not None
        try:
            self._push.finish()
        except Error as error:
            if error.code == "INVALID_ARGUMENT" and _NOT_FINITE in str(error):
                self._raise_dropped(f"the gradient of step {self.step} is not finite: the training "
                                    f"diverges; take a smaller learning rate, or clip the gradient",
                                    True)
            self._raise_dropped(str(error), code=error.code)
