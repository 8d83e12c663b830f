# SPDX-License-Identifier: Apache-2.0
"""Servers that are not what they should be: answers made by hand. One clear error each."""

import concurrent.futures

import grpc
import numpy as np
import pytest

import helpers
import percentdelta as pd
from percentdelta import _job_codec, _protocol

ENTRIES = 5
ONCE = pd.RetryPolicy(give_up_after=0)


def _slice(tensor, begin, end, shard):
    return _protocol.message("Slice")(tensor=tensor, begin=begin, end=end, shard=shard)


class Puppet:
    """A coordinator and its only shard, with a job of one tensor `w`. `pull`, `lease`: what it
    answers with; grpc.StatusCode: with that error."""

    def __init__(self):
        self.pull = []
        self.partition = [_slice(0, 0, ENTRIES, 0)]
        self.lease = grpc.StatusCode.UNAVAILABLE
        self.reports = []
        self.offers = []
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers([
            self._service("Coordinator", GetJob=self._get_job, AcquireLease=self._acquire_lease,
                          CompleteLease=self._complete_lease),
            self._service("ParameterServer", Pull=self._pull)])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.job = helpers.small_job(model=pd.Model("m", (pd.Tensor("w", (ENTRIES,)),)))
        self._server.start()

    def stop(self):
        self._server.stop(None)

    @staticmethod
    def _service(name, **calls):
        handlers = {}
        for method in _protocol._method_protos(name):
            if method.name not in calls:
                continue
            make = (grpc.unary_stream_rpc_method_handler if method.server_streaming
                    else grpc.unary_unary_rpc_method_handler)
            handlers[method.name] = make(
                calls[method.name],
                request_deserializer=_protocol.message(method.input_type.split(".")[-1]).FromString,
                response_serializer=lambda answer: answer.SerializeToString())
        return grpc.method_handlers_generic_handler(f"percentdelta.v1.{name}", handlers)

    def _get_job(self, request, context):
        return _protocol.message("GetJobResponse")(
            job=_job_codec.to_message(self.job), job_hash=self.job.hash(), generation=7,
            shard_addresses=[self.address], partition=self.partition)

    def _acquire_lease(self, request, context):
        if isinstance(self.lease, grpc.StatusCode):
            context.abort(self.lease, "not now")
        return self.lease.pop(0) if isinstance(self.lease, list) else self.lease

    def _complete_lease(self, request, context):
        self.reports.append(request)
        return _protocol.message("Lease")(kind=2)  # FINISHED

    def _pull(self, request, context):
        self.offers.append(request.HasField("memory"))
        for tensor, begin, values in self.pull:
            shared = values if isinstance(values, int) else 0
            yield _protocol.message("PullResponse")(
                tensor=tensor, begin=begin, values=b"" if shared else values, shared_values=shared)


@pytest.fixture(name="puppet")
def fixture_puppet():
    puppet = Puppet()
    yield puppet
    puppet.stop()


def floats(count):
    return np.arange(count, dtype="<f4").tobytes()


def test_weights_in_pieces(puppet):
    puppet.pull = [("w", 0, floats(2)), ("w", 2, floats(3))]
    with pd.Client(puppet.address, retry=ONCE) as client:
        assert client.weights(step=0)["w"].tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("chunks, message", [
    ([], "tensor w: expected 5 values, got 0"),
    ([("w", 0, floats(3))], "tensor w: expected 5 values, got 3"),
    ([("v\n", 0, floats(5))], r'expected tensors of the shard, got "v\\n"'),
    ([("w", 1, floats(4))], "expected values from entry 0 up to 5, got 16 bytes from 1"),
    ([("w", 0, floats(6))], "expected values from entry 0 up to 5, got 24 bytes from 0"),
    ([("w", 0, floats(5)[:-1])], "expected values from entry 0 up to 5, got 19 bytes from 0"),
    ([("w", 0, b"")], "expected values from entry 0 up to 5, got 0 bytes from 0"),
    ([("w", 0, floats(5)), ("w", 0, floats(5))],
     "expected values from entry 5 up to 5, got 20 bytes from 0"),
    ([("w", 0, 6)], "expected values from entry 0 up to 5, got 6 shared values from 0"),
    ([("w", 0, -1)], "expected values from entry 0 up to 5, got -1 shared values from 0"),
    ([("w", 0, 5)], "expected its values, got a word that they are in memory that was not offered"),
])
def test_pulls_that_are_not_the_slices(puppet, chunks, message):
    puppet.pull = chunks
    with pd.Client(puppet.address, retry=ONCE) as client:
        with pytest.raises(pd.ServerError, match=f"pull from shard 0 at .*: .*{message}") as error:
            client.weights(step=0)
    assert error.value.code == "DATA_LOSS"


WHOLE = "tensor w: expected a slice from entry 0 up to 5 at most, got "
ONE_EACH = r"tensor w: expected one slice on each of some shards of 0\.\.0, got "


@pytest.mark.parametrize("slices, message", [
    ([], WHOLE + "none"),
    ([(1, 0, 5, 0)], WHOLE + r"Slice\(tensor=1, begin=0, end=5, shard=0\)"),
    ([(0, 1, 5, 0)], WHOLE + r"Slice\(tensor=0, begin=1"),
    ([(0, 0, 6, 0)], WHOLE + r"Slice\(tensor=0, begin=0, end=6"),
    ([(0, 0, 0, 0), (0, 0, 5, 0)], WHOLE + r"Slice\(tensor=0, begin=0, end=0"),
    ([(0, 0, -1, 0)], WHOLE + r"Slice\(tensor=0, begin=0, end=-1"),
    ([(0, 0, 3, 0)], "expected a slice from entry 3 up to 5 at most, got none"),
    ([(0, 0, 3, 0), (0, 2, 5, 0)], "expected a slice from entry 3 up to 5 at most, got Slice"),
    ([(0, 0, 3, 0), (0, 3, 5, 0)], ONE_EACH + r"Slice\(tensor=0, begin=3"),
    ([(0, 0, 5, 1)], ONE_EACH + ".* shard=1"),
    ([(0, 0, 5, -1)], ONE_EACH + ".* shard=-1"),
    ([(0, 0, 5, 0), (1, 0, 1, 0)], "expected no slice after the last tensor's, got Slice"),
])
def test_partitions_that_are_none(puppet, slices, message):
    puppet.partition = [_slice(*each) for each in slices]
    with pd.Client(puppet.address, retry=ONCE) as client:
        with pytest.raises(pd.ServerError, match=f"coordinator's partition: .*{message}") as bad:
            client.weights(step=0)
        assert client.job() == puppet.job  # for which no partition is needed
    assert bad.value.code == "DATA_LOSS"
    puppet.lease = _protocol.message("Lease")(kind=4, generation=7, lease_id=3, deadline_ms=1000)
    with pytest.raises(pd.ServerError, match="the coordinator's partition: "):
        with pd.Worker(puppet.address) as worker:
            next(iter(worker))


def test_a_worker_drops_the_lease_of_such_a_pull(puppet):
    puppet.pull = [("w", 0, floats(6))]
    puppet.lease = _protocol.message("Lease")(kind=4, generation=7, lease_id=3, deadline_ms=1000)
    with pd.Worker(puppet.address, name="worker") as worker:
        for lease in worker:
            with lease:
                lease.pull().wait()
                raise AssertionError("expected LeaseDropped")
    report, = puppet.reports
    assert (report.lease_id, report.worker, report.caused_by_environment) == (3, "worker", True)
    assert "tensor w: expected values" in report.failure
    assert puppet.offers == [True]


def test_a_server_that_takes_no_memory_is_offered_none_any_more(puppet):
    puppet.pull = [("w", 0, floats(5))]
    puppet.lease = [_protocol.message("Lease")(kind=5, generation=7, lease_id=step, step=step)
                    for step in range(3)]
    with pd.Worker(puppet.address) as worker:
        for _ in range(3):
            lease = next(worker)
            assert lease.pull()["w"].tolist() == [0, 1, 2, 3, 4]
            lease.complete(1.0)
            worker._session.next = None
    assert puppet.offers == [True, False, False]


def test_a_lease_of_a_kind_to_come_is_waited_out(puppet):
    waits = []

    class Lease:
        """WAIT, as often as it takes."""

        @staticmethod
        def SerializeToString():
            waits.append(1)
            kind = 99 if len(waits) < 3 else 3  # FAILED
            return _protocol.message("Lease")(kind=kind, message="why").SerializeToString()

    puppet.lease = Lease
    with pd.Worker(puppet.address) as worker:
        with pytest.raises(pd.TrainingFailedError, match="the training failed: why"):
            next(worker)
    assert len(waits) == 3


@pytest.mark.parametrize("code, kind", [
    (grpc.StatusCode.FAILED_PRECONDITION, pd.FailedPreconditionError),
    (grpc.StatusCode.INVALID_ARGUMENT, pd.InvalidArgumentError),
    (grpc.StatusCode.ABORTED, pd.ServerError),
    (grpc.StatusCode.INTERNAL, pd.ServerError)])
def test_errors_of_calls_have_the_servers_message(puppet, code, kind):
    puppet.lease = code
    with pd.Worker(puppet.address) as worker:
        with pytest.raises(kind, match="^not now$") as error:
            next(worker)
    assert error.value.code == code.name


def test_another_job_after_a_restart(puppet):
    with pd.Worker(puppet.address) as worker:
        assert worker.job.max_steps == 8
        puppet.job = helpers.small_job(max_steps=9, model=puppet.job.model)
        puppet.lease = _protocol.message("Lease")(kind=4, generation=8)
        with pytest.raises(pd.FailedPreconditionError, match="the cluster has begun another job"):
            next(worker)


def test_a_lease_of_the_generation_before_is_void(puppet):
    puppet.lease = [_protocol.message("Lease")(kind=5, generation=generation, lease_id=generation)
                    for generation in (6, 7)]
    puppet.pull = [("w", 0, floats(5))]
    with pd.Worker(puppet.address) as worker:
        for lease in worker:
            with lease:
                lease.pull().wait()  # at that step the new generation may not arrive without it
                lease.complete(1.0)
    assert [report.lease_id for report in puppet.reports] == [7]
