# SPDX-License-Identifier: Apache-2.0
"""Training steps against PyTorch's own, and examples a second against other frameworks."""
