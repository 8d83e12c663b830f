# SPDX-License-Identifier: Apache-2.0
"""train() that ends before the training: by an exception, by SIGTERM."""

import multiprocessing
import os
import signal
import subprocess
import threading

import numpy as np
import pytest

from torch_helpers import LOSS, Interrupt, make_job, small, torch

from percentdelta.torch import train


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Interrupt])
def test_what_is_raised_gives_the_lease_back(dataset, start, tmp_path, kind):
    expected_module = small()
    expected = train(expected_module, LOSS, dataset,
                     start(make_job(expected_module, dataset, tmp_path)).address,
                     progress=False).checksum
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 4:
            raise kind("enough")
        return LOSS(output, target)

    with pytest.raises(kind, match="enough"):
        train(module, loss, dataset, cluster.address, progress=False)
    hooks = [hook for each in module.modules() for hook in each._forward_pre_hooks.values()]
    assert not hooks and all(parameter.grad is None for parameter in module.parameters())
    assert module[0].weight.data_ptr() != 0 and torch.isfinite(module[0].weight).all()
    assert not hasattr(torch.nn.Parameter, "__getitem__") or (
        torch.nn.Parameter.__getitem__ is torch.Tensor.__getitem__)
    assert train(module, LOSS, dataset, cluster.address, progress=False).checksum == expected


def test_sigterm_ends_it_after_the_lease_in_hand(dataset, start, tmp_path):
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 4:  # slot 1 of step 1
            os.kill(os.getpid(), signal.SIGTERM)
        return LOSS(output, target)

    summary = train(module, loss, dataset, cluster.address, progress=False)
    assert not summary.finished and summary.checksum == "" and summary.progress is None
    assert (summary.gradients, summary.step) == (4, 1)
    with cluster.client() as client:
        assert client.status().expired_leases == 0
        np.testing.assert_array_equal(module[0].weight.detach(), client.weights(1)["0/weight"])
    assert train(module, LOSS, dataset, cluster.address, progress=False).finished


def test_sigterm_to_the_process_group(dataset, start, tmp_path):
    """A DataLoader's processes end with it; the next lease finds them gone."""
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            # By another process: a DataLoader's take their parent's as the end of all work.
            pids = [str(child.pid) for child in multiprocessing.active_children()]
            subprocess.run(["sh", "-c", f"kill {' '.join(pids)}"], check=True)
            threading.Event().wait(60)  # until PyTorch's handler of SIGCHLD raises RuntimeError
            raise AssertionError("expected an error of the DataLoader")
        return LOSS(output, target)

    summary = train(module, loss, dataset, cluster.address, progress=False, num_workers=1)
    assert not summary.finished and summary.gradients == 2
    with cluster.client() as client:
        assert client.status().expired_leases == 0
