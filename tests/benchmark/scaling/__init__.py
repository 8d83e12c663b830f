# SPDX-License-Identifier: Apache-2.0
"""The cost model of docs/scaling.md."""
