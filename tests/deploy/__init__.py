"""Tests of the scripts in deploy/."""
