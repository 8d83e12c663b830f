# SPDX-License-Identifier: Apache-2.0
"""Scripts that build and run the project."""
