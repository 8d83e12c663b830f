# SPDX-License-Identifier: Apache-2.0
"""What ends a run of the harness early."""

from deploy.project import Failure

__all__ = ["Failure", "Violation"]


class Violation(Exception):
    """What is tested broke a promise (docs/reliability.md). The message says which, and how."""
