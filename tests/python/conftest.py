# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all tests; percentdelta_cluster is the package's own."""

import pytest

import helpers


@pytest.fixture(name="job")
def fixture_job():
    """A small job."""
    return helpers.small_job()


@pytest.fixture(name="start")
def fixture_start(percentdelta_cluster):
    """Starts a cluster that gives a lease that is not renewed to another worker after 0.3 s."""
    def start(job, shards=1, **options):
        return percentdelta_cluster(job, shards, flags=["--lease_deadline=300ms"], **options)

    return start


@pytest.fixture(name="dataset")
def fixture_dataset():
    """For PyTorch: four numbers in, three classes out."""
    import torch_helpers  # which skips where there is no PyTorch
    torch = torch_helpers.torch
    count = torch_helpers.DATASET_SIZE
    return torch.utils.data.TensorDataset(torch_helpers.numbers(count, 4), torch.arange(count) % 3)
