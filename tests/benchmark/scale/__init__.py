# SPDX-License-Identifier: Apache-2.0
"""What a model of 100 million parameters takes: time and memory."""
