# SPDX-License-Identifier: Apache-2.0
"""Repeated calls and renewed leases, with clocks and pauses of the tests' own."""

import threading

import pytest

import percentdelta as pd
from percentdelta import _wire, errors
from percentdelta._renewer import LeaseRenewer
from percentdelta._retry import Retrier, Stopped


class Time:
    """A clock that pauses alone move; the clock and the pause of a Retrier."""

    def __init__(self):
        self.now = 0.0
        self.pauses = []

    def __call__(self):
        return self.now

    def take(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    def cut(self):
        pass


class Server:
    """Answers with the given errors' codes, one after the other, then with "answer"."""

    def __init__(self, *codes):
        self.codes = list(codes)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.codes:
            code = self.codes.pop(0)
            if code:
                raise errors.make(code, f"{code} {self.calls}")
        return "answer"


def retrier(time, **policy):
    return Retrier("the coordinator", "host:1", pd.RetryPolicy(**policy), time, clock=time)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"])
def test_what_passes_is_tried_again(code):
    time, server = Time(), Server(*[code] * 9)
    assert retrier(time, give_up_after=100).call(server) == "answer"
    assert server.calls == 10
    for pause, most in zip(time.pauses, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2]):
        assert most / 2 <= pause <= most
    assert len(set(pause / 0.05 for pause in time.pauses)) == 9  # with jitter


@pytest.mark.parametrize("code", ["FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND",
                                  "UNIMPLEMENTED", "INTERNAL"])
def test_what_does_not_pass_is_raised(code):
    time, server = Time(), Server(code)
    with pytest.raises(pd.Error, match=f"{code} 1"):
        retrier(time).call(server)
    assert server.calls == 1


def test_foreign_answers_pass_once_the_server_is_known():
    time = Time()
    calls = retrier(time)
    calls.call(Server())
    assert calls.call(Server("UNIMPLEMENTED", "INTERNAL")) == "answer"
    with pytest.raises(pd.NotFoundError):
        calls.call(Server("NOT_FOUND"))


def test_it_gives_up():
    time = Time()
    with pytest.raises(pd.UnavailableError, match="the coordinator at host:1 has not answered for "
                                                  "60 s; the last error: UNAVAILABLE"):
        retrier(time, give_up_after=60).call(Server(*["UNAVAILABLE"] * 1000))
    assert 60 < time.now < 63


def test_nothing_is_repeated_with_a_policy_of_zero():
    server = Server("UNAVAILABLE")
    with pytest.raises(pd.UnavailableError, match="UNAVAILABLE 1"):
        retrier(Time(), give_up_after=0).call(server)


def test_an_outage_is_two_lines_and_a_short_one_none(caplog):
    caplog.set_level("INFO", "percentdelta")
    retrier(Time()).call(Server(*["UNAVAILABLE"] * 3))
    assert caplog.messages == []
    retrier(Time(), give_up_after=100).call(Server(*["UNAVAILABLE"] * 30))
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("waiting for the coordinator at host:1: UNAVAILABLE")
    assert caplog.messages[1] == "the coordinator at host:1 answers again"


def test_stop_ends_it():
    time = Time()
    calls = retrier(time)

    def attempt():
        calls.stop()
        raise errors.make("UNAVAILABLE", "away")

    with pytest.raises(Stopped):
        calls.call(attempt)


def lease(number, deadline):
    return _wire.LeaseFields("train", 1, number, 0, 0, 0, 0, 0, 0, deadline, "", False)


class Renewals:
    """What a renewer asked for: the ids, in order."""

    def __init__(self, answer=0.003):
        self._answer = answer
        self._asked = threading.Condition()
        self.ids = []

    def __call__(self, fields):
        with self._asked:
            self.ids.append(fields.id)
            self._asked.notify()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def wait(self, count):
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.ids) >= count, 20)


def test_a_lease_is_renewed_while_there_is_progress():
    renewals = Renewals()
    renewer = LeaseRenewer(renewals)
    renewer.begin(lease(1, deadline=0.003))
    for count in range(1, 4):
        renewer.progress()
        renewals.wait(count)
    renewer.end()
    renewer.begin(lease(2, deadline=0.003))
    renewer.progress()
    renewals.wait(len(renewals.ids) + 1)
    assert renewals.ids[-1] == 2
    renewer.stop()


def test_without_progress_it_is_not():
    renewals = Renewals()
    renewer = LeaseRenewer(renewals)
    renewer.begin(lease(1, deadline=0.003))
    renewer.progress()
    renewals.wait(1)
    renewer.begin(lease(2, deadline=0.003))  # the progress was of the first
    renewer.begin(lease(3, deadline=0.003))
    renewer.progress()
    renewals.wait(2)
    assert renewals.ids == [1, 3]
    renewer.stop()


def test_a_renewal_that_fails_is_tried_again():
    renewals = Renewals(errors.make("UNAVAILABLE", "away"))
    renewer = LeaseRenewer(renewals)
    renewer.begin(lease(1, deadline=0.003))
    for count in range(1, 4):
        renewer.progress()
        renewals.wait(count)
    renewer.stop()
