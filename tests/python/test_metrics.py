# SPDX-License-Identifier: Apache-2.0
"""What a worker reports besides loss and accuracy, and what it says of its arithmetic."""

import numpy as np
import pytest

import helpers
import percentdelta as pd


@pytest.fixture(name="lease")
def fixture_lease(job, start):
    """A training lease of step 0, whose gradient has been pushed."""
    with pd.Worker(start(job).address) as worker:
        lease = next(iter(worker))
        lease.push(helpers.gradient_of(lease.pull(), lease.job, lease.step, lease.slot))
        yield lease


NAME = "name: expected 1..64 printable ASCII characters without blanks, quotes, backslashes, got "


@pytest.mark.parametrize("metrics, message", [
    ({f"m{i}": (1, 1) for i in range(33)}, "metrics: expected at most 32, got 33"),
    ({"": (1, 1)}, f'metrics: {NAME}""'),
    ({"x" * 65: (1, 1)}, f'metrics: {NAME}"{"x" * 65}"'),
    ({"a b": (1, 1)}, f'metrics: {NAME}"a b"'),
    ({'a"b': (1, 1)}, f'metrics: {NAME}"a"b"'),
    ({"a\\b": (1, 1)}, f'metrics: {NAME}"a\\b"'),
    ({"a\n": (1, 1)}, f'metrics: {NAME}"a\\n"'),
    ({"Größe": (1, 1)}, f'metrics: {NAME}"Größe"'),
    ({3: (1, 1)}, f"metrics: {NAME}3"),
    ({"a": (float("nan"), 1)}, "metrics: a: sum: expected a finite number, got nan"),
    ({"a": (float("-inf"), 1)}, "metrics: a: sum: expected a finite number, got -inf"),
    ({"a": ("1", 1)}, "metrics: a: sum: expected a finite number, got '1'"),
    ({"a": (10**400, 1)}, f"metrics: a: sum: expected a finite number, got {10**400}"),
    ({"a": (1, 0)}, "metrics: a: count: expected a finite number above 0, got 0"),
    ({"a": (1, -2.5)}, "metrics: a: count: expected a finite number above 0, got -2.5"),
    ({"a": (1, float("inf"))}, "metrics: a: count: expected a finite number above 0, got inf"),
    ({"a": (1, float("nan"))}, "metrics: a: count: expected a finite number above 0, got nan"),
    ({"a": (1, None)}, "metrics: a: count: expected a finite number above 0, got None"),
    ({"a": 1.5}, "metrics: a: expected (sum, count), got 1.5"),
    ({"a": (1, 2, 3)}, "metrics: a: expected (sum, count), got (1, 2, 3)"),
    ([("a", 1, 2)], "metrics: expected {name: (sum, count)}, got list"),
], ids=str)
def test_metrics_that_are_none(lease, metrics, message):
    with pytest.raises(pd.UsageError) as error:
        lease.complete(1.0, metrics=metrics)
    assert str(error.value) == f"{lease}: {message}"
    lease.complete(1.0)  # leaves no trace


def test_a_loss_that_is_not_finite_is_the_better_message(lease):
    with pytest.raises(pd.LeaseDropped, match="the loss of step 0 is not finite"):
        lease.complete(float("nan"), metrics={"a": (float("nan"), 1)})


def test_numpys_numbers_are_numbers(lease):
    lease.complete(1.0, metrics={"a": (np.float32(1.5), np.int64(3)), "b": [np.array([2.5]), 1]})


@pytest.mark.parametrize("arithmetic, message", [
    ("x" * 257, "arithmetic: expected at most 256 bytes, got 257"),
    ("a\tb", 'arithmetic: expected printable ASCII, got "a\\tb"'),
    ("größer", 'arithmetic: expected printable ASCII, got "größer"'),
])
def test_arithmetic_that_is_no_name(arithmetic, message):
    with pytest.raises(pd.InvalidArgumentError) as error:
        pd.Worker("127.0.0.1:5000", arithmetic=arithmetic)
    assert str(error.value) == message
