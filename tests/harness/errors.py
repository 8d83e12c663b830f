# SPDX-License-Identifier: Apache-2.0
"""What ends a run of the harness early."""

from deploy.project import Failure

__all__ = ["Failure", "Skipped", "Violation", "expect", "expect_in"]


class Skipped(Exception):
    """The test is not possible here. The message says why."""


class Violation(Exception):
    """What is tested broke a promise (docs/reliability.md). The message says which, and how."""


def expect(condition: bool, what: str) -> None:
    """Throws Violation with `what` unless the condition holds."""
    if not condition:
        raise Violation(what)


def expect_in(text: str, expected: str, what: str) -> None:
    """Throws Violation if the output `text` of `what` does not contain `expected`."""
    if expected not in text:
        raise Violation(f"{what}: expected {expected} in its output, got {text!r}")
