"""Faults, injected into real trainings (docs/reliability.md)."""
