"""Scripts that build and run the project."""
