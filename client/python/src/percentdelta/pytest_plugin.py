# SPDX-License-Identifier: Apache-2.0
"""A fixture for tests of jobs and workers; pytest finds it where the package is installed."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator

import pytest

from percentdelta.job import Job
from percentdelta.local_cluster import LocalCluster


def _percentdelta_cluster() -> Iterator[Callable[..., LocalCluster]]:
    """Starts clusters, which end with the test: percentdelta_cluster(job, shards=2)."""
    with contextlib.ExitStack() as clusters:
        def start(job: Job, shards: int = 1, **options: Any) -> LocalCluster:
            return clusters.enter_context(LocalCluster(job, shards, **options))

        yield start


# Not as a decorator: where pytest has no types, mypy would know none of the function.
percentdelta_cluster: Any = pytest.fixture(name="percentdelta_cluster")(_percentdelta_cluster)
