# SPDX-License-Identifier: Apache-2.0
"""The Python of the tests: one package, imported from the top folder of the project."""
