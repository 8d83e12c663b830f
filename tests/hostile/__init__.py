# SPDX-License-Identifier: Apache-2.0
"""Hostile clients beside a training."""
