# SPDX-License-Identifier: Apache-2.0
"""For PyTorch; the one part of the package that needs it.

    job_for       makes the job that trains a module
    train         the whole worker: trains the module on a cluster
    PercentDelta  the servers' rule as an optimizer of PyTorch's, for training without servers

docs/python.md is the guide.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as _error:
    raise ImportError("percentdelta.torch needs PyTorch, 1.13 or later: install Debian's "
                      "python3-torch, or torch from PyPI") from _error

from percentdelta.torch._arithmetic import arithmetic
from percentdelta.torch._job_for import job_for, save_weights
from percentdelta.torch._parts import ModuleError
from percentdelta.torch._train import Summary, train
from percentdelta.torch.optimizer import PercentDelta

__all__ = ["arithmetic", "job_for", "ModuleError", "PercentDelta", "save_weights", "Summary",
           "train"]
