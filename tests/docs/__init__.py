"""Checks of the documents."""
