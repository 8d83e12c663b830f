"""The paper's experiments (docs/reproduction.md)."""
