"""The Docker Compose example, on a real engine."""
