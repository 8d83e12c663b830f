# SPDX-License-Identifier: Apache-2.0
"""For PyTorch, which only this part of the package needs.

    PercentDelta  the servers' rule as an optimizer of PyTorch's, for training without servers
"""

from percentdelta.torch.optimizer import PercentDelta

__all__ = ["PercentDelta"]
