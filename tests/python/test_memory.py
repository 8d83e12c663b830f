# SPDX-License-Identifier: Apache-2.0
"""How many copies of the model a worker makes."""

import weakref
import threading

import numpy as np
import pytest

import helpers
import percentdelta as pd
from percentdelta import _push, _session, _shared_memory

PATIENCE = 20


@pytest.fixture(name="expected")
def fixture_expected(job, start):
    """The checksum with gradients in arrays of the caller."""
    cluster = start(job)
    helpers.train(cluster.address)
    with cluster.client() as client:
        return client.checksum()


@pytest.fixture(name="regions")
def fixture_regions(monkeypatch):
    """The shared memory that was made, in order."""
    made = []
    init = _shared_memory.SharedMemory.__init__

    def note(memory, values):
        init(memory, values)
        made.append(weakref.ref(memory))

    monkeypatch.setattr(_shared_memory.SharedMemory, "__init__", note)
    return made


def work_in_place(lease, own=()):
    """Computes the gradients of all tensors but `own` into the lease's arrays, and pushes them."""
    weights = lease.pull()
    weights.wait()
    for name, values in helpers.gradient_of(weights, lease.job, lease.step, lease.slot).items():
        if name in own:
            lease.push(name, values)
            continue
        array = lease.gradient(name)
        array[...] = values
        lease.push(name, array)
    lease.complete(loss_sum=0.5 * len(lease.examples))


@pytest.mark.parametrize("own", [(), ("conv/weights",), ("dense/weights", "out/biases")])
@pytest.mark.parametrize("shared_memory", [False, True])
def test_gradients_in_the_leases_arrays_change_nothing(job, start, expected, shared_memory, own):
    cluster = start(job, shards=2)
    with pd.Worker(cluster.address, shared_memory=shared_memory) as worker:
        for lease in worker:
            with lease:
                work_in_place(lease, own)
    with cluster.client() as client:
        assert client.checksum() == expected


def test_the_leases_arrays_are_what_servers_read(job, start, regions):
    cluster = start(job, shards=2)
    with pd.Worker(cluster.address, prefetch=False) as worker:
        for lease in worker:
            with lease:
                work_in_place(lease)
    assert len(regions) == 2  # of the weights and of the gradients, for all steps


def test_the_leases_arrays_are_used_again_without_shared_memory(job, start, regions):
    cluster = start(job)
    places = set()
    with pd.Worker(cluster.address, shared_memory=False) as worker:
        for lease in worker:
            with lease:
                places.add(lease.gradient("dense/weights").ctypes.data)
                work_in_place(lease)
    assert len(places) == 1
    assert not regions


def test_an_array_of_the_lease(job, start):
    with pd.Worker(start(job).address) as worker:
        lease = next(iter(worker))
        for name, shape in helpers.SHAPES.items():
            array = lease.gradient(name)
            assert (array.shape, array.dtype) == (shape, np.float32)
            assert array.flags.writeable
            assert np.shares_memory(array, lease.gradient(name))
        with pytest.raises(pd.GradientError, match='expected a tensor of the job, got "nonsense"'):
            lease.gradient("nonsense")
        lease.drop("enough")
        with pytest.raises(pd.UsageError, match="the lease has ended"):
            lease.gradient("scale")


@pytest.mark.parametrize("shared_memory", [False, True])
def test_what_is_sent_is_not_kept(job, start, shared_memory):
    gone = threading.Event()
    with pd.Worker(start(job).address, shared_memory=shared_memory) as worker:
        for lease in worker:
            with lease:
                gradients = helpers.gradient_of(lease.pull(), lease.job, lease.step, lease.slot)
                last = gradients.pop("out/biases")
                weakref.finalize(gradients["dense/weights"], gone.set)
                lease.push(gradients)
                gradients.clear()
                assert gone.wait(PATIENCE), "the lease keeps a gradient that it has sent"
                lease.push("out/biases", last)
                lease.complete(1.0)
            break


@pytest.mark.parametrize("backlog", [0, 1000])
def test_gradients_beyond_a_backlog_are_copied_at_once(job, start, expected, monkeypatch, backlog):
    monkeypatch.setattr(_push, "_BACKLOG_BYTES", backlog)
    cluster = start(job, shards=2)
    helpers.train(cluster.address)
    with cluster.client() as client:
        assert client.checksum() == expected


@pytest.mark.parametrize("prefetch, large, regions_made", [
    (None, False, 3), (None, True, 2), (True, True, 3), (False, False, 2)])
def test_the_next_weights_of_a_large_model_are_not_pulled_ahead(
        job, start, regions, monkeypatch, prefetch, large, regions_made):
    size = 4 * sum(int(np.prod(shape)) for shape in helpers.SHAPES.values())
    monkeypatch.setattr(_session, "_PREFETCHED_MODEL", size - large)
    cluster = start(job)
    with pd.Worker(cluster.address, prefetch=prefetch) as worker:
        for lease in worker:
            with lease:
                helpers.work(lease)
    assert len(regions) == regions_made
