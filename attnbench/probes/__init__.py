"""Probes: each takes a callable and measures one quantity of it. They know nothing of cells or mechanisms."""
