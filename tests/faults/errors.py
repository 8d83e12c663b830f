"""What ends a run of the harness before its time."""


class Failure(Exception):
    """The harness itself cannot go on: something is missing here, or its arguments make no sense."""


class Violation(Exception):
    """A promise of docs/reliability.md was broken. The message says which, and how."""
