# SPDX-License-Identifier: Apache-2.0
"""The Docker Compose example, on a real engine."""
