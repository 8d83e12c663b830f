# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the package.

Each carries one message: what, where, expected, got, what to do. What a server refused has the
server's own message.
"""

from typing import Any, Dict, Type

import grpc


class Error(Exception):
    """Base of all of them. `code` is the gRPC status code's name, or "" where no call was made."""

    code = ""


class JobError(Error, ValueError):
    """A job that is not valid: which field, what was expected and what came."""


class GradientError(Error, ValueError):
    """A gradient that does not fit the job: unknown tensor, wrong shape or type, one missing."""


class UsageError(Error, RuntimeError):
    """Calls that make no sense in this order."""


class InvalidArgumentError(Error, ValueError):
    """The server refuses an argument."""

    code = "INVALID_ARGUMENT"


class NotFoundError(Error, LookupError):
    """No such layer, tensor or lease."""

    code = "NOT_FOUND"


class FailedPreconditionError(Error):
    """Not in the state that the cluster is in: weights that are gone, a job without checkpoints."""

    code = "FAILED_PRECONDITION"


class UnavailableError(Error, ConnectionError):
    """The cluster, or a part of it, cannot be reached."""

    code = "UNAVAILABLE"


class DeadlineExceededError(Error, TimeoutError):
    """No answer within the deadline."""

    code = "DEADLINE_EXCEEDED"


class TrainingFailedError(Error):
    """The training has failed; the message says why."""

    code = "ABORTED"


class ServerError(Error):
    """Any other answer of a server; `code` names its status."""


class BinaryNotFoundError(Error, FileNotFoundError):
    """No pd-server where LocalCluster looks; the message says how to build it."""


class LeaseDropped(Error):
    """The lease in hand is void or cannot be completed: its weights are gone, a server is away, the
    worker stops. `with lease:` ends with it silently, and the loop goes on with the next lease.

    `at_fault`: the computation is the cause, not the cluster (a loss that is not finite).
    """

    def __init__(self, message: str, at_fault: bool = False, code: str = "") -> None:
        super().__init__(message)
        self.at_fault = at_fault
        self.code = code


_BY_CODE: Dict[str, Type[Error]] = {
    kind.code: kind for kind in (InvalidArgumentError, NotFoundError, FailedPreconditionError,
                                 UnavailableError, DeadlineExceededError)}


def make(code: str, message: str) -> Error:
    """The exception for a status code's name."""
    error = _BY_CODE.get(code, ServerError)(message)
    error.code = code
    return error


def from_rpc(error: Any, prefix: str = "") -> Error:
    """The exception for a grpc.RpcError, with the server's message after `prefix`."""
    code = error.code() if callable(getattr(error, "code", None)) else None
    details = error.details() if callable(getattr(error, "details", None)) else str(error)
    name = code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
    return make(name, prefix + (details or name))


# Which errors pass by themselves: common/base/transience.h says why.
_TRANSIENT = frozenset(("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"))
_FOREIGN = frozenset(("UNIMPLEMENTED", "INTERNAL", "DATA_LOSS", "UNKNOWN", "UNAUTHENTICATED",
                      "RESOURCE_EXHAUSTED"))


def is_transient(error: Error) -> bool:
    """Whether the same call may succeed later, whatever it was sent to."""
    return error.code in _TRANSIENT


def is_foreign(error: Error) -> bool:
    """Whether something other than the project's services may have answered."""
    return error.code in _FOREIGN
