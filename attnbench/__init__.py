"""attnbench: attention mechanisms measured side by side, with the conditions beside every figure."""

from importlib.metadata import version

__version__ = version("attnbench")
