# SPDX-License-Identifier: Apache-2.0
"""Batches of a data set for the leases of a worker, by a DataLoader's processes if there are any.

Everything random in an example is seeded by (seed, step, slot, example), so that neither the number
of processes nor their timing changes a batch.

A DataLoader asks for its indices ahead of time, but leases come one by one. So its sampler yields
requests: `num_workers` of them are always under way, one in each process, and each that is taken
out puts another in. A batch is cut in as many pieces. While the present batch is taken out, the
pieces of the lease that is likely to be the next are put in; if another comes, they are thrown
away.
"""

from __future__ import annotations

import collections.abc
import pickle
from typing import Any, Callable, Deque, Iterator, List, Optional, Tuple

import numpy as np
import torch
from torch.utils import data as torch_data

from percentdelta.batches import BatchSource, gradient_key
from percentdelta.lease import Lease
from percentdelta.random_numbers import hash64
from percentdelta.torch._seeds import evaluation_key, seed_cpu

# kind, indices, key; None: nothing to load.
_Request = Optional[Tuple[str, Any, int]]


def _load(dataset: Any, indices: Any, key: int, lease: Optional[Lease] = None) -> List[Any]:
    samples = []
    for index in indices.tolist():
        if lease is not None:
            lease.progress()
        seed_cpu(hash64(key, index))
        samples.append(dataset[index])
    return samples


class _Pieces(torch_data.Dataset):
    """What the DataLoader's processes see as a data set: takes requests as indices."""

    def __init__(self, datasets: Any, collates: bool) -> None:
        self._datasets = datasets
        self._collates = collates

    def __getitem__(self, request: _Request) -> Any:
        if request is None or len(request[1]) == 0:
            return None
        kind, indices, key = request
        samples = _load(self._datasets[kind], indices, key)
        # As bytes, because every tensor by itself would take a file descriptor.
        return (torch_data.default_collate(samples) if self._collates
                else pickle.dumps(samples, pickle.HIGHEST_PROTOCOL))


class _Requests:
    """The DataLoader's sampler: what is queued, or nothing to load."""

    def __init__(self) -> None:
        self.queued: Deque[_Request] = collections.deque()

    def __iter__(self) -> Iterator[_Request]:
        while True:
            yield self.queued.popleft() if self.queued else None


def _as_it_is(piece: Any) -> Any:
    return piece


def merge(pieces: List[Any]) -> Any:
    """What default_collate makes of all examples, from what it made of some of them each."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if isinstance(first, torch.Tensor):
        return torch.cat(pieces)
    if isinstance(first, collections.abc.Mapping):
        merged = {key: merge([piece[key] for piece in pieces]) for key in first}
        return merged if type(first) is dict else type(first)(merged)  # type: ignore[call-arg]
    if isinstance(first[0], (str, bytes)):  # of a batch
        return [text for piece in pieces for text in piece]
    fields = [merge(list(field)) for field in zip(*pieces)]
    if hasattr(first, "_fields"):
        return type(first)(*fields)
    return fields


class Batches:
    """Not thread-safe. `datasets`: "train" and, where there is one, "evaluate". `collate` None:
    PyTorch's default. The processes, if any, are started at once."""

    def __init__(self, datasets: Any, num_workers: int,
                 collate: Optional[Callable[[List[Any]], Any]],
                 worker_init_fn: Optional[Callable[[int], None]], pin_memory: bool) -> None:
        self._datasets = datasets
        self._collate = collate
        self._pieces = num_workers
        self._requests = _Requests()
        self._loader: Any = None
        self._under_way: Any = None  # the lease whose pieces are
        self._expected: Any = None  # the lease that was thought to come next
        self._stride = 1
        self._place = -1  # of the last training lease among all
        self._order: Optional[BatchSource] = None
        if num_workers > 0:
            self._loader = iter(torch_data.DataLoader(
                _Pieces(datasets, collate is None), batch_size=None, sampler=self._requests,
                num_workers=num_workers, prefetch_factor=1, collate_fn=_as_it_is,
                worker_init_fn=worker_init_fn, pin_memory=pin_memory))

    def close(self) -> None:
        """Ends the processes."""
        loader, self._loader = self._loader, None
        if loader is not None and hasattr(loader, "_shutdown_workers"):
            loader._shutdown_workers()

    def of(self, lease: Lease) -> Any:
        """The batch of a lease."""
        if lease.kind == "train":
            key = lease.random_key
        else:
            key = evaluation_key(lease.job.seed, lease.step)
        if self._loader is None:
            return self._load_here(lease, key)
        return self._load_there(lease, key)

    def _load_here(self, lease: Lease, key: int) -> Any:
        dataset = self._datasets[lease.kind]
        if type(dataset) is torch_data.TensorDataset and self._collate is None:
            indices = torch.from_numpy(np.array(lease.examples))
            return [tensor[indices] for tensor in dataset.tensors]
        samples = _load(dataset, lease.examples, key, lease)
        return (torch_data.default_collate if self._collate is None else self._collate)(samples)

    def _load_there(self, lease: Lease, key: int) -> Any:
        here = self._name(lease.kind, lease.step, lease.slot, lease.examples)
        requests = self._requests.queued
        requests.clear()
        if self._under_way != here:
            self._under_way = None
            requests.extend(self._cut(lease.kind, lease.examples, key))
            for _ in range(self._pieces):
                next(self._loader)
                lease.progress()
        self._under_way = None
        guessed_right = self._expected is None or self._expected == here
        following, cut = self._guess(lease)
        if guessed_right:
            requests.extend(cut)
        pieces = []
        for _ in range(self._pieces):
            pieces.append(next(self._loader))
            lease.progress()
        self._expected = following
        self._under_way = following if guessed_right else None
        pieces = [piece for piece in pieces if piece is not None]
        if self._collate is None:
            return merge(pieces)
        return self._collate([sample for piece in pieces for sample in pickle.loads(piece)])

    @staticmethod
    def _name(kind: str, step: int, slot: int, examples: Any) -> Any:
        return (kind, step, slot if kind == "train" else int(examples[0]))

    def _cut(self, kind: str, examples: Any, key: int) -> List[_Request]:
        return [(kind, part, key) for part in np.array_split(examples, self._pieces)]

    def _guess(self, lease: Lease) -> Tuple[Any, List[_Request]]:
        """The name of the lease that is likely to come next, and its requests."""
        job = lease.job
        if lease.kind == "evaluate":
            first = int(lease.examples[-1]) + 1
            examples = np.arange(first, min(first + len(lease.examples), job.data.test_examples))
            if len(examples) == 0:
                return None, []
            return (self._name("evaluate", lease.step, 0, examples),
                    self._cut("evaluate", examples, evaluation_key(job.seed, lease.step)))
        place = lease.step * job.gradients_per_step + lease.slot
        if self._place >= 0 and place > self._place:
            self._stride = min(place - self._place, 2 * job.gradients_per_step)
        self._place = place
        step, slot = divmod(place + self._stride, job.gradients_per_step)
        if step >= job.max_steps:
            return None, []
        if self._order is None:
            self._order = BatchSource(job.seed, job.data.training_examples)
        epoch, batch_index = job.batch_of(step, slot)
        examples = self._order.examples(epoch, batch_index, job.batch_size)
        return (self._name("train", step, slot, examples),
                self._cut("train", examples, gradient_key(job.seed, step, slot)))


def to_device(batch: Any, device: Any) -> Any:
    """The batch with all tensors in it on the device."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, collections.abc.Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    if hasattr(batch, "to"):
        return batch.to(device)
    return batch


def check_length(what: str, dataset: Any, expected: int, field: str, error: Any) -> None:
    """Raises `error` unless the data set has the job's number of examples."""
    if isinstance(dataset, torch_data.IterableDataset) or not (
            hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise error(f"{what}: expected a data set with a length and indices, which the order of "
                    f"the batches refers to, got {type(dataset).__name__}")
    if len(dataset) != expected:
        raise error(f"{what}: expected {expected} examples, the job's {field}, got {len(dataset)}")
