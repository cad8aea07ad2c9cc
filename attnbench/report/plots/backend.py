"""Loads matplotlib whatever MPLBACKEND says: a notebook's own backend need not be known where attnbench is installed.

Figures are drawn on a canvas of their own, so that no backend is asked for. Imported before anything of matplotlib.
"""

from __future__ import annotations

import os

_asked = os.environ.pop("MPLBACKEND", None)
try:
    import matplotlib as mpl
finally:
    if _asked is not None:
        os.environ["MPLBACKEND"] = _asked

__all__ = ["mpl"]
