"""The conformance kit: what a mechanism must keep, checked. ``attnbench.testing`` is its door."""
