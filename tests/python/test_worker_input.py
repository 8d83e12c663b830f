# SPDX-License-Identifier: Apache-2.0
"""What a worker can get wrong: one clear error each, and the training goes on."""

import numpy as np
import pytest

import helpers
import percentdelta as pd


@pytest.fixture(name="cluster")
def fixture_cluster(job, start):
    """Of one shard, with the small job."""
    return start(job)


@pytest.fixture(name="lease")
def fixture_lease(cluster):
    """A training lease of step 0."""
    with pd.Worker(cluster.address) as worker:
        yield next(iter(worker))


def gradients(lease):
    """All of them."""
    return helpers.gradient_of(lease.pull(), lease.job, lease.step, lease.slot)


@pytest.mark.parametrize("name, values, message", [
    ("nonsense", np.zeros(3, np.float32), r'expected a tensor of the job, got "nonsense"; there'),
    ("out/biases", np.zeros(6, np.float32), r"out/biases: expected shape \[7\], got \[6\]"),
    ("out/biases", np.zeros((7, 1), np.float32), r"expected shape \[7\], got \[7, 1\]"),
    ("scale", np.zeros(1, np.float32), r"scale: expected shape \[\], got \[1\]"),
    ("out/biases", np.zeros(7, np.int64), r"expected floating-point numbers, got int64"),
    ("out/biases", np.zeros(7, complex), r"expected floating-point numbers, got complex128"),
    ("out/biases", None, r"expected floating-point numbers, got object"),
])
def test_gradients_that_do_not_fit(lease, name, values, message):
    with pytest.raises(pd.GradientError, match=message):
        lease.push(name, values)
    lease.push(gradients(lease))  # leaves no trace
    lease.complete(1.0)


def test_a_gradient_twice_and_none(lease):
    some = gradients(lease)
    last = some.pop("out/biases")
    lease.push(some)
    with pytest.raises(pd.GradientError, match="expected each tensor once, got scale again"):
        lease.push("scale", some["scale"])
    with pytest.raises(pd.GradientError, match="got none of out/biases"):
        lease.complete(1.0)
    lease.push("out/biases", last)
    lease.complete(1.0)
    with pytest.raises(pd.UsageError, match="the lease has ended"):
        lease.complete(1.0)


def test_other_floating_point_types_and_orders_are_converted(job, start):
    checksums = set()
    for convert in (np.asarray, lambda a: a.astype(np.float64), lambda a: np.array(a, order="F"),
                    lambda a: np.repeat(a[..., None], 2, -1)[..., 0], lambda a: a.astype(">f4")):
        cluster = start(job, shards=2)
        with pd.Worker(cluster.address) as worker, cluster.client() as client:
            for lease in worker:
                with lease:
                    for name, array in gradients(lease).items():
                        lease.push(name, convert(array))
                    lease.complete(1.0)
            checksums.add(client.checksum())
    assert len(checksums) == 1


def test_weights_cannot_be_changed(lease):
    weights = lease.pull()
    with pytest.raises(ValueError):
        weights["scale"][...] = 1
    with pytest.raises(KeyError):
        weights["nonsense"]
    assert list(weights) == list(helpers.SHAPES)
    assert {name: array.shape for name, array in weights.items()} == helpers.SHAPES
    assert weights.is_there("scale")


@pytest.mark.parametrize("values", [np.nan, np.inf, 1e300], ids=["NaN", "infinity", "float64"])
def test_a_gradient_that_is_not_finite(cluster, values):
    reports = []
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                bad = gradients(lease)
                bad["scale"] = np.float64(values)
                if not reports:
                    lease.push(bad)
                    with pytest.raises(pd.LeaseDropped, match="gradient of step 0 is not finite"):
                        lease.complete(1.0)
                    reports.append(lease)
                    continue
                helpers.work(lease)
    with cluster.client() as client:
        assert client.status().state == "finished"
        assert client.status().failed_leases == 1


def test_a_loss_that_is_not_finite(cluster):
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                lease.push(gradients(lease))
                lease.complete(float("nan") if worker_has_not_failed(cluster) else 1.0)
    with cluster.client() as client:
        assert client.status().failed_leases == 1


def worker_has_not_failed(cluster):
    """Whether no failure has been reported yet."""
    with cluster.client() as client:
        return client.status().failed_leases == 0


def test_an_exception_in_the_loop_fails_the_lease(cluster):
    with pytest.raises(ZeroDivisionError):
        with pd.Worker(cluster.address) as worker:
            for lease in worker:
                with lease:
                    1 / 0
    with cluster.client() as client:
        assert client.status().failed_leases == 1
    helpers.train(cluster.address)  # another worker does it


def test_without_with_a_dropped_lease_is_reported_by_the_next(cluster):
    dropped = 0
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            try:
                if dropped == 0:
                    lease.complete(float("inf"))
                helpers.work(lease)
            except pd.LeaseDropped:
                dropped += 1
    assert dropped == 1
    with cluster.client() as client:
        assert client.status().state == "finished"
        assert client.status().failed_leases == 1


def test_a_lease_that_is_forgotten(cluster):
    with pd.Worker(cluster.address) as worker:
        with pytest.raises(pd.UsageError, match=r"<train step 0 slot 0>: expected complete\(\)"):
            for _ in worker:
                pass
        with next(worker):
            pass
        with pytest.raises(pd.UsageError, match=r"expected complete\(\), drop\(\) or fail\(\)"):
            next(worker)
    helpers.train(cluster.address)
    with cluster.client() as client:
        assert client.status().expired_leases == 0


def test_leaving_the_loop_gives_the_lease_back(cluster):
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            break
    assert lease.ended
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                lease.push("scale", np.float32(1))
                break
    with pytest.raises(pd.UsageError, match="the lease has ended"):
        lease.push("scale", np.float32(1))
    helpers.train(cluster.address)
    with cluster.client() as client:
        assert client.status().expired_leases == 0


def test_evaluations_take_no_gradient(start):
    cluster = start(helpers.small_job(evaluation=pd.Evaluation(1, 20)))
    with pd.Worker(cluster.address) as worker:
        lease = next(lease for lease in worker if lease.kind == "evaluate" or lease.drop("not it"))
        with pytest.raises(pd.UsageError, match="expected a push for a lease of kind train"):
            lease.push("scale", np.float32(1))
        with pytest.raises(pd.UsageError, match="correct <= examples <= 20, got correct 21"):
            lease.complete(1.0, correct=21)
        lease.complete(1.0, correct=20)


def test_workers_that_do_not_fit_the_first(cluster):
    with pd.Worker(cluster.address, arithmetic="one", data="a", name="first") as first:
        helpers.work_until(first, step=1)  # what has delivered a step counts
        with pd.Worker(cluster.address, arithmetic="two", data="a", name="second") as second:
            with pytest.raises(pd.FailedPreconditionError, match="arithmetic.*one.*two"):
                next(second)
        with pd.Worker(cluster.address, arithmetic="one", data="b", name="third") as third:
            with pytest.raises(pd.FailedPreconditionError, match="data"):
                next(third)


def test_names(cluster):
    with pd.Worker(cluster.address, name="x" * 129) as worker:
        with pytest.raises(pd.InvalidArgumentError, match="at most 128 bytes, got 129"):
            next(worker)
    with pd.Worker(cluster.address, name="a\nb") as worker:
        with pytest.raises(pd.InvalidArgumentError, match="printable UTF-8"):
            next(worker)


@pytest.mark.parametrize("address, wrong", [
    ("localhost", "there is no port"), ("http://a:1", "a scheme is not taken"),
    (":5000", "the host is empty"), ("a:0", r"a port is a number of 1\.\.65535"),
    ("::1:5000", "an IPv6 address needs brackets"), ("a b:1", "a host has labels"),
    (None, "it is not a string")])
def test_addresses(address, wrong):
    for kind in (pd.Worker, pd.Client):
        with pytest.raises(pd.InvalidArgumentError, match=f"address: expected HOST:PORT.*{wrong}"):
            kind(address)


def test_a_shard_is_not_a_coordinator(job, start):
    cluster = start(job, shards=2)
    with pd.Worker(cluster.addresses[1]) as worker:
        with pytest.raises(pd.ServerError, match="is not the coordinator, which is shard 0"):
            next(worker)
    with pd.Client(cluster.addresses[1]) as client:
        with pytest.raises(pd.ServerError, match="is not the coordinator, which is shard 0"):
            client.status()


def test_a_stopped_worker(cluster):
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                helpers.work(lease)
                worker.stop()
        assert list(worker) == []
    with cluster.client() as client:
        assert client.status().step == 0
        helpers.train(cluster.address)
        assert client.status().expired_leases == 0


def test_an_abandoned_worker_drops_its_lease(cluster):
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                lease.push("scale", np.float32(1))
                worker.abandon()
                rest = gradients(lease)
                del rest["scale"]
                lease.push(rest)
                lease.complete(1.0)
    assert lease.ended
    helpers.train(cluster.address)
    with cluster.client() as client:
        assert client.status().expired_leases == 0


def test_a_closed_worker(cluster):
    with pd.Worker(cluster.address) as worker:
        pass
    assert list(worker) == []
    with pytest.raises(pd.UsageError, match="the worker is closed"):
        worker.job
    with pd.Worker(cluster.address) as worker:
        assert worker.job == helpers.small_job()
        lease = next(worker)
    assert lease.ended


def test_a_lease_that_the_caller_drops(cluster):
    leases = []
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                leases.append(lease)
                if len(leases) == 1:
                    raise pd.LeaseDropped("no batch")
                if len(leases) == 2:
                    lease.drop("no batch either")
                    continue
                helpers.work(lease)
    with cluster.client() as client:
        assert client.status().state == "finished"
    assert len(leases) == 8 * 3 + 2
