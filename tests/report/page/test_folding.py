from __future__ import annotations

import pytest

from attnbench.report.page.folding import folded


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("shapes.py:MacsInInt", ["shapes.py:", "MacsInInt"]),
        ("dil.py:DilatedGates, dilation=2", ["dil.py:", "DilatedGates,", "dilation=2¹"]),
        ("a_b+c-d", ["a_b+c-d"]),
        ("AttentionWithManyHumps", ["AttentionWith", "ManyHumps"]),
        ("window_attention-v2", ["window_", "attention-v2"]),
        ("x" * 20, ["x" * 16, "x" * 4]),
    ],
)
def test_names_break_between_their_parts_and_humps(name, lines):
    mark = "¹" if lines[-1].endswith("¹") else ""
    assert folded(name, 16, mark=mark) == lines
