# SPDX-License-Identifier: Apache-2.0
"""Batches for leases: the same for any number of processes, in whatever order leases come."""

import collections
import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import helpers
import percentdelta as pd
from percentdelta.batches import BatchSource, gradient_key
from torch_helpers import Augmented, torch

from percentdelta.torch import ModuleError, _batches

JOB = helpers.small_job(gradients_per_step=3, max_steps=5, batch_size=7)


@dataclasses.dataclass
class FakeLease:
    """As much of a lease as Batches takes."""

    kind: str
    step: int
    slot: int
    examples: object
    job: object = JOB
    renewals: int = 0

    @property
    def random_key(self):
        return gradient_key(self.job.seed, self.step, self.slot)

    def progress(self):
        self.renewals += 1


def training(step, slot):
    source = BatchSource(JOB.seed, JOB.data.training_examples)
    return FakeLease("train", step, slot,
                     source.examples(*JOB.batch_of(step, slot), JOB.batch_size))


def evaluation(step, first, count):
    return FakeLease("evaluate", step, 0, np.arange(first, first + count))


IN_ORDER = [training(step, slot) for step in range(5) for slot in range(3)]
OTHERS = [training(0, 2), training(1, 1), training(1, 2), training(3, 0), training(3, 0),
          training(2, 1), training(4, 2)]
EVALUATIONS = [evaluation(0, 0, 7), evaluation(0, 7, 7), evaluation(0, 14, 6), training(0, 0),
               evaluation(2, 7, 7), training(0, 1), training(0, 2)]


def datasets():
    generator = torch.Generator().manual_seed(1)
    return {kind: Augmented(torch.rand(count, 2, generator=generator), torch.arange(count))
            for kind, count in (("train", 100), ("evaluate", 20))}


def batches_of(leases, num_workers, collate=None):
    batches = _batches.Batches(datasets(), num_workers, collate, None, False)
    try:
        return [batches.of(lease) for lease in leases]
    finally:
        batches.close()


@pytest.mark.parametrize("collate", [None, lambda samples: [torch.stack(x) for x in zip(*samples)]],
                         ids=["default", "own"])
@pytest.mark.parametrize("leases", [IN_ORDER, OTHERS, EVALUATIONS],
                         ids=["in order", "others", "evaluations"])
def test_processes_change_nothing(leases, collate):
    expected = batches_of(leases, 0, collate)
    for lease, (images, labels) in zip(leases, expected):
        assert images.shape == (len(lease.examples), 2)
        assert labels.tolist() == lease.examples.tolist()
    for got, (images, labels) in zip(batches_of(leases, 3, collate), expected):
        assert torch.equal(got[0], images) and torch.equal(got[1], labels)


def test_what_is_random_follows_from_step_slot_and_example():
    first, again, other = batches_of([training(0, 0), training(0, 0), training(0, 1)], 0)
    assert torch.equal(first[0], again[0])
    plain = datasets()["train"].images
    noise = first[0] - plain[first[1]]
    assert len(set(noise[:, 0].tolist())) == len(noise)  # each example's own
    assert not torch.equal(noise, other[0] - plain[other[1]])


def test_the_next_lease_is_loaded_ahead():
    batches = _batches.Batches(datasets(), 2, None, None, False)
    try:
        batches.of(training(0, 0))
        assert batches._under_way == ("train", 0, 1)
        batches.of(training(0, 1))
        batches.of(training(1, 1))  # not what was expected: after that nothing is, for once
        assert batches._under_way is None
        batches.of(training(2, 1))  # every third, as the stride says
        assert batches._under_way == ("train", 3, 1)
        batches.of(training(4, 2))
        assert batches._expected is None  # the training ends
    finally:
        batches.close()


def test_a_tensor_data_set_is_indexed_as_a_whole():
    pixels, labels = torch.rand(100, 2), torch.arange(100)
    dataset = torch.utils.data.TensorDataset(pixels, labels)
    batches = _batches.Batches({"train": dataset}, 0, None, None, False)
    lease = training(2, 1)
    got = batches.of(lease)
    expected = torch.utils.data.default_collate([dataset[i] for i in lease.examples.tolist()])
    assert type(got) is type(expected)
    assert all(torch.equal(a, b) for a, b in zip(got, expected))


Pair = collections.namedtuple("Pair", "first second")


@pytest.mark.parametrize("sample", [
    lambda i: float(i), lambda i: i, lambda i: np.full(2, i), lambda i: f"text {i}",
    lambda i: (torch.ones(2) * i, f"t{i}"), lambda i: [i, (float(i), "x")],
    lambda i: {"a": i, "b": {"c": [torch.tensor(i), str(i)]}}, lambda i: Pair(i, np.float32(i))],
    ids=["float", "int", "array", "text", "pair", "nested", "mapping", "named"])
def test_pieces_are_merged_as_the_whole(sample):
    samples = [sample(i) for i in range(7)]
    whole = torch.utils.data.default_collate(samples)
    merged = _batches.merge([torch.utils.data.default_collate(piece)
                             for piece in (samples[:3], samples[3:5], samples[5:])])

    def check(a, b):
        if isinstance(a, torch.Tensor):
            assert torch.equal(a, b) and a.dtype == b.dtype
        elif isinstance(a, dict):
            assert list(a) == list(b)
            for key in a:
                check(a[key], b[key])
        elif isinstance(a, str):
            assert a == b
        else:
            assert len(a) == len(b) and getattr(a, "_fields", 0) == getattr(b, "_fields", 0)
            for one, other in zip(a, b):
                check(one, other)

    check(merged, whole)


class Broken(Augmented):
    def __getitem__(self, index):
        raise ValueError(f"example {index} is broken")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_the_data_set_raises(num_workers):
    batches = _batches.Batches({"train": Broken(torch.rand(100, 2), torch.arange(100))},
                               num_workers, None, None, False)
    try:
        with pytest.raises(ValueError, match="example .* is broken"):
            batches.of(training(0, 0))
    finally:
        batches.close()


class Endless(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize("dataset, message", [
    (range(9), "dataset: expected 10 examples, the job's data.training_examples, got 9"),
    (Endless(), "dataset: expected a data set with a length and indices, .*, got Endless"),
    (iter([]), "dataset: expected a data set with a length and indices, .*, got list_iterator")])
def test_data_sets_of_another_length(dataset, message):
    with pytest.raises(ModuleError, match=message):
        _batches.check_length("dataset", dataset, 10, "data.training_examples", ModuleError)


# In a process of its own: channels of other tests may still be open in this one.
QUIET = """
import logging, sys
import percentdelta as pd
from percentdelta.torch import _batches
logging.basicConfig(stream=sys.stdout, format="%(message)s")
seconds, _batches._QUIET_SECONDS = _batches._QUIET_SECONDS, 0.2
with pd.Client(sys.argv[1]) as client:
    client.status()
    assert _batches._runs_grpc()
    _batches.await_quiet()
print("closed")
_batches._QUIET_SECONDS = seconds
_batches.await_quiet()
assert not _batches._runs_grpc()
"""


def test_grpc_s_threads_end_before_processes_are_forked(percentdelta_cluster):
    result = subprocess.run([sys.executable, "-c", QUIET, percentdelta_cluster(JOB).address],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    opened, closed = result.stdout.split("closed\n")
    assert "a gRPC channel of this process is open" in opened
    assert closed == ""


def test_batches_move_to_a_device():
    batch = {"a": torch.ones(2), "b": [torch.ones(1), "x"], "c": Pair(torch.ones(1), 3)}
    moved = _batches.to_device(batch, torch.device("meta"))
    assert moved["a"].device.type == moved["b"][0].device.type == "meta"
    assert moved["b"][1] == "x" and moved["c"].second == 3
    assert moved["c"].first.device.type == "meta"


def test_the_job_s_order_is_written_down():
    assert pd.batches.epoch_order(7, 0, 100)[:7].tolist() == training(0, 0).examples.tolist()
