# SPDX-License-Identifier: Apache-2.0
"""The Debian packages and the Python wheel, in a clean Debian."""
