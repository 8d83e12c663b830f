# SPDX-License-Identifier: Apache-2.0
"""The worker for PyTorch modules."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import functools
import inspect
import logging
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

import torch

from percentdelta._retry import RetryPolicy
from percentdelta.client import Client
from percentdelta.errors import Error, FailedPreconditionError, LeaseDropped, UsageError
from percentdelta.job import Job
from percentdelta.lease import Lease
from percentdelta.progress import Progress
from percentdelta.torch._arithmetic import arithmetic as arithmetic_of
from percentdelta.torch._batches import Batches, check_length, to_device
from percentdelta.torch._bound_module import BoundModule
from percentdelta.torch._display import Display
from percentdelta.torch._parts import ModuleError
from percentdelta.torch._seeds import GeneratorStates, evaluation_key, seed_all
from percentdelta.worker import Worker

_log = logging.getLogger("percentdelta")
_one_at_a_time = threading.Lock()

# (output, target)
Forward = Callable[[Any, Any], Tuple[Any, Any]]
Metric = Callable[[Any, Any], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Summary:
    """What train() did. Counts and `loss` are this worker's alone.

    finished   whether the training has ended; False: this worker was stopped before, or its cluster
               was drained
    step       of the weights that the module has now
    checksum   of these weights, as `pdctl checksum` shows it; "": not finished. If
               progress.any_arithmetic is set, another run has another
    gradients  computed, each of a batch
    examples   in these
    loss       mean of the last batch; nan: there was none
    seconds    from the first lease to the end
    progress   the whole cluster's at the end: losses, accuracies, metrics; None: not finished
    drained    whether the cluster was drained (Client.drain): its training goes on from a
               checkpoint when the servers start again
    """

    finished: bool
    step: int
    checksum: str
    gradients: int
    examples: int
    loss: float
    seconds: float
    progress: Optional[Progress]
    drained: bool = False


def train(module: torch.nn.Module, loss: Callable[[Any, Any], Any], dataset: Any, address: str, *,
          test_dataset: Any = None, forward: Optional[Forward] = None,
          metric: Optional[Metric] = None, device: Any = None, num_workers: int = 0,
          collate_fn: Optional[Callable[[List[Any]], Any]] = None,
          worker_init_fn: Optional[Callable[[int], None]] = None, data: str = "",
          arithmetic: Optional[str] = None, progress: Optional[bool] = None,
          **worker_options: Any) -> Summary:
    """Works for the cluster whose coordinator is at `address` (HOST:PORT) until its training ends,
    and leaves `module` with the final weights.

        train(module, torch.nn.CrossEntropyLoss(), dataset, "first:5000")

    Run it on any number of machines: the weights are the same. They follow from the job, whatever
    values the module had. For a batch of (input, target) pairs the gradient is that of
    loss(module(input), target).

    loss       gets (output, target) and returns a scalar: the *mean* loss of the batch
    dataset    of the training, with __len__ and __getitem__, as long as the job says
    test_dataset  of the evaluations, if the job has any
    forward    gets (module, batch), returns (output, target); for batches of another form
    metric     gets (output, target) of an evaluation's batch, returns {name: mean over the batch}
               or {name: (sum, count)}; means over the test set appear in progress, history, report.
               The accuracy is there anyway where outputs are [n, classes] and targets [n]
    device     "cpu", "cuda", "cuda:1": where the module is moved. None: where it is
    num_workers, collate_fn, worker_init_fn  as a DataLoader's
    data       fingerprint of the data, such as a SHA-256: one cluster, one data set. That of the
               parts of the module which are not in the job is added
    arithmetic see Worker; None: arithmetic(device)
    progress   shows a progress bar where stderr is a terminal or a notebook and tqdm is there, else
               a line every ten seconds. False: nothing
    worker_options  Worker's others: name, give_up_after, drain, connect_to, ...

    Before each gradient, Python's, NumPy's and PyTorch's global generators are seeded by (seed,
    step, slot), before each example by its index, too. Submodules are trained in the mode that they
    are in; a module in evaluation mode is first put in training mode as a whole. Evaluations run in
    evaluation mode and leave no trace.

    SIGTERM ends it after the lease in hand; Ctrl-C at once, with KeyboardInterrupt. Either way the
    module has memory of its own again.

    Raises ModuleError if the module does not fit the job, the data sets do not, or the loss is not
    a mean; what Worker raises; and what the module, the loss and the data set raise, after handing
    the lease back.
    """
    _check_reduction(loss)
    if not _one_at_a_time.acquire(blocking=False):
        raise UsageError("expected one train() at a time in a process, for it seeds the process's "
                         "random numbers")
    states = GeneratorStates()
    try:
        if device is not None:
            module.to(device)
        where = _device_of(module)
        datasets = {"train": dataset} if test_dataset is None else {
            "train": dataset, "evaluate": test_dataset}
        with contextlib.closing(Batches(datasets, num_workers, collate_fn, worker_init_fn,
                                        where.type == "cuda")) as batches:
            training = _Training(module, loss, forward or _forward_pair, metric, batches, where)
            return training.run(address, datasets, data, arithmetic, progress, worker_options)
    finally:
        states.restore()
        _one_at_a_time.release()


def _device_of(module: Any) -> Any:
    devices = {value.device for value in module.parameters()}
    if len(devices) != 1:
        raise ModuleError(f"module: expected all parameters on one device, got "
                          f"{', '.join(sorted(map(str, devices))) or 'no parameter'}")
    return devices.pop()


def _check_reduction(loss: Any) -> None:
    if not callable(loss):
        raise ModuleError(f"loss: expected a function of (output, target), got "
                          f"{type(loss).__name__}")
    keywords = loss.keywords if isinstance(loss, functools.partial) else {}
    reduction = keywords.get("reduction", getattr(loss, "reduction", "mean"))
    if reduction in ("sum", "none"):
        raise ModuleError(f'loss: expected the mean over the batch, got reduction="{reduction}"')


def _forward_pair(module: Any, batch: Any) -> Tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        got = (f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list))
               else type(batch).__name__)
        raise ModuleError(f"batch: expected a pair (input, target), got {got}; "
                          f"forward=(module, batch) -> (output, target) takes any other")
    return module(batch[0]), batch[1]


def _check_loss(value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        raise ModuleError(f"loss: expected a scalar tensor, the mean over the batch, got "
                          f"{type(value).__name__}")
    if value.numel() != 1:
        raise ModuleError(f"loss: expected a scalar, the mean over the batch, got shape "
                          f'{list(value.shape)}: take reduction="mean", or its .mean()')


def _count_correct(output: Any, target: Any) -> Optional[int]:
    """Of a classification; None: it is none."""
    if not isinstance(output, torch.Tensor) or not isinstance(target, torch.Tensor):
        return None
    if (output.dim() != 2 or output.shape[1] < 2 or target.shape != output.shape[:1]
            or not output.is_floating_point() or target.is_floating_point()
            or target.dtype == torch.bool):
        return None
    return int((output.detach().argmax(1) == target).sum())


def _sums(measured: Any, examples: int) -> Dict[str, Tuple[float, float]]:
    """What a metric returned, as {name: (sum, count)}."""
    if not isinstance(measured, collections.abc.Mapping):
        raise ModuleError(f"metric: expected {{name: mean}} or {{name: (sum, count)}}, got "
                          f"{type(measured).__name__}")
    sums: Dict[str, Any] = dict(measured)
    for name, value in sums.items():
        if not isinstance(value, (tuple, list)):
            sums[name] = (float(value) * examples, examples)
    return sums


@contextlib.contextmanager
def _evaluation_mode(module: Any) -> Iterator[None]:
    """With each submodule's mode put back afterwards."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for each, mode in modes:
            each.training = mode


class _Training:
    """One call of train()."""

    def __init__(self, module: Any, loss: Callable[[Any, Any], Any], forward: Forward,
                 metric: Optional[Metric], batches: Batches, device: Any) -> None:
        self._module = module
        self._loss = loss
        self._forward = forward
        self._metric = metric
        self._batches = batches
        self._device = device
        self._worker: Any = None
        self._display: Any = None
        self._gradients = 0
        self._examples = 0
        self._last_loss = float("nan")

    def run(self, address: str, datasets: Mapping[str, Any], data: str, arithmetic: Optional[str],
            shown: Optional[bool], options: Dict[str, Any]) -> Summary:
        """See train()."""
        named = arithmetic_of(self._device) if arithmetic is None else arithmetic
        if arithmetic is None and hasattr(self._module, "_orig_mod"):
            named += "/compiled"
        client_options = {key: value for key, value in options.items()
                          if key in inspect.signature(Client.__init__).parameters}
        if "give_up_after" in options:
            client_options["retry"] = RetryPolicy(give_up_after=options["give_up_after"])
        with Worker(address, arithmetic=named, **options) as worker, \
                Client(address, **client_options) as client:
            self._worker = worker
            job = worker.job
            _check_datasets(job, datasets)
            bound = BoundModule(self._module, job)
            self._display = Display(shown, job.max_steps)
            try:
                return self._run(worker, client, bound, data)
            finally:
                self._display.close("stopped")
                bound.close()

    def _run(self, worker: Worker, client: Client, bound: BoundModule, data: str) -> Summary:
        began = time.monotonic()
        fingerprint = bound.fingerprint(data)
        worker.identify_data(fingerprint)
        if not self._module.training:
            self._module.train()
        last_step = self._work(worker, bound, fingerprint != data)
        weights = self._final_weights(client, bound, worker)
        step = last_step if weights is None else weights.step
        bound.close(weights, step)
        checksum = weights.checksum() if worker.finished else ""
        if worker.finished:
            note = " (any_arithmetic: of this run alone)" if worker.job.any_arithmetic else ""
            self._display.close(f"finished at step {step}, weights {checksum[:12]}{note}")
        return Summary(
            finished=worker.finished, step=step, checksum=checksum, gradients=self._gradients,
            examples=self._examples, loss=self._last_loss, seconds=time.monotonic() - began,
            progress=client.progress() if worker.finished else None, drained=worker.drained)

    def _work(self, worker: Worker, bound: BoundModule, has_constants: bool) -> int:
        """Does leases until there are no more. Returns the step of the last one."""
        step = 0
        try:
            for lease in worker:
                with lease:
                    step = lease.step
                    self._do(lease, bound)
        except FailedPreconditionError as error:
            if has_constants and "data" in str(error):
                raise FailedPreconditionError(
                    f"{error}. For train() the data are also the module's frozen parameters and "
                    f"constant buffers, whose values must be the same in all workers") from error
            raise
        return step

    def _do(self, lease: Lease, bound: BoundModule) -> None:
        try:
            if lease.kind == "train":
                self._train(lease, bound)
            else:
                self._evaluate(lease, bound)
        except RuntimeError as error:
            # A signal to the process group ends the DataLoader's processes, too.
            if self._worker.stopping and "DataLoader worker" in str(error):
                raise LeaseDropped("the worker leaves") from None
            raise
        finally:
            bound.release()

    @staticmethod
    def _final_weights(client: Client, bound: BoundModule, worker: Worker) -> Any:
        """None: the module keeps those that it has."""
        if worker.finished:
            return client.weights()
        if bound.is_whole:
            return None
        if worker.drained:
            _log.warning("the module's weights may be of several steps: those of the cluster are "
                         "in its checkpoint")
            return None
        try:
            return client.weights()
        except Error as error:
            _log.warning("the module's weights may be of several steps: %s", error)
            return None

    def _batch(self, lease: Lease) -> Any:
        batch = self._batches.of(lease)
        return batch if self._device.type == "cpu" else to_device(batch, self._device)

    def _train(self, lease: Lease, bound: BoundModule) -> None:
        lease.pull()
        batch = self._batch(lease)
        value, output, target = self._forward_pass(lease, bound, batch)
        if not bound.has_noticed(value):
            value, output, target = self._forward_pass(lease, bound, batch)
            bound.has_noticed(value)
        bound.push_buffers()
        lease.progress()
        bound.backward(value)
        mean = float(value.detach())
        correct = _count_correct(output, target)
        count = len(lease.examples)
        lease.complete(mean * count, correct or 0)
        self._gradients += 1
        self._examples += count
        self._last_loss = mean
        self._display.trained(lease.step, count, mean, correct)

    def _forward_pass(self, lease: Lease, bound: BoundModule, batch: Any) -> Tuple[Any, Any, Any]:
        bound.load(lease)
        seed_all(lease.random_key)
        with bound.forward():
            output, target = self._forward(self._module, batch)
        value = self._loss(output, target)
        _check_loss(value)
        if not value.requires_grad:
            raise ModuleError("loss: expected one that depends on the module's parameters, got one "
                              "without a gradient: was it detached, or computed under no_grad()?")
        return value, output, target

    def _evaluate(self, lease: Lease, bound: BoundModule) -> None:
        lease.pull()
        batch = self._batch(lease)
        bound.load(lease)
        bound.wait_all()
        seed_all(evaluation_key(lease.job.seed, lease.step))
        with _evaluation_mode(self._module):
            output, target = self._forward(self._module, batch)
            value = self._loss(output, target)
            _check_loss(value)
            count = len(lease.examples)
            metrics = {} if self._metric is None else _sums(self._metric(output, target), count)
        loss_sum = float(value) * count
        correct = _count_correct(output, target)
        lease.complete(loss_sum, correct or 0, metrics=metrics)
        self._display.evaluated(lease.step, count, loss_sum, correct)


def _check_datasets(job: Job, datasets: Mapping[str, Any]) -> None:
    check_length("dataset", datasets["train"], job.data.training_examples,
                 "data.training_examples", ModuleError)
    if "evaluate" in datasets:
        check_length("test_dataset", datasets["evaluate"], job.data.test_examples,
                     "data.test_examples", ModuleError)
    elif job.evaluation is not None:
        raise ModuleError("test_dataset: expected one, for the job has evaluations, got none")
