"""The pytest-benchmark fixture."""
