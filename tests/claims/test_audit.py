"""From layers and weights to verdicts: what is changed changes them."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from made_up_claims import claim
from PIL import Image
from rich.console import Console
from torch import nn

from attnbench.claims import audit
from attnbench.claims.claim import Check
from attnbench.claims.plan import Means
from attnbench.claims.verdict import ClaimVerdict
from attnbench.errors import UsageError
from attnbench.runs.job import Settings

QUICK = Settings(precision=0.2, max_time_s=0.3)

LAYER = """
from torch import nn
from attnbench.mechanism import Mechanism

class Mine(Mechanism):
    \"\"\"As many products with one matrix as asked for.\"\"\"

    def __init__(self, site, *, window: int = 1):
        super().__init__(site)
        self.window = {repeats}
        self.first = nn.Linear(site.dim, {width} * site.dim, bias=False)
        self.last = nn.Linear({width} * site.dim, site.dim, bias=False)

    def forward(self, x):
        for _ in range(self.window):
            x = self.last(self.first(x))
        return x
"""
LEDGER = """
[[claim]]
id = "params"
says = "parameters"
quantity = "params"
value = 18.4
unit = "k"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH", metric = "params", dim = 96 }

[[claim]]
id = "formula"
says = "multiply-adds"
quantity = "macs"
value = "2 N C^2"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH", metric = "macs_torch", dim = 96, res = ["112", "224", "448"], formula = "2*N*C**2" }

[[claim]]
id = "ratio"
says = "multiply-adds over those of window 1"
quantity = "macs"
value = 40
unit = "x"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH:window=40", over = "PATH:window=1", metric = "macs", dim = 96 }

[[claim]]
id = "time"
says = "time over that of window 1"
quantity = "latency"
value = 4
unit = "x"
relation = "above"
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH:window=40", over = "PATH:window=1", metric = "latency_median_s", dim = 96 }

[[claim]]
id = "growth"
says = "grows with the window"
quantity = "macs"
value = 1
source = "here"
certainty = "verbatim"
check = { mechanism = "PATH", metric = "macs", dim = 96, along = "window", values = [1, 2, 4], take = "exponent" }
"""


def audited(path: Path, folder: Path) -> audit.Audit:
    claims = audit.claims_of([f"{path}:Mine"])
    means = Means(device="cpu", threads=1)
    return audit.judge(claims, means, settings=QUICK, folder=folder, fresh=True, console=Console(quiet=True))


def test_a_changed_layer_changes_the_verdict_of_every_kind_of_claim(tmp_path: Path) -> None:
    ends = {}
    for name, width, repeats in (("published", 1, "window"), ("changed", 2, 1)):
        path = tmp_path / name / "mine.py"
        path.parent.mkdir()
        path.write_text(LAYER.format(width=width, repeats=repeats))
        path.with_suffix(".claims.toml").write_text(LEDGER.replace("PATH", f"{path}:Mine"))
        found = audited(path, tmp_path / name / "run")
        ends[name] = {one.claim.id: one.verdict for one in found.judgements}
    assert set(ends["published"].values()) == {ClaimVerdict.REPRODUCED}, ends
    assert set(ends["changed"].values()) == {ClaimVerdict.DIFFERS}, ends


def test_other_weights_change_the_verdict_on_an_accuracy(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, count in (("a", 10), ("b", 1), ("c", 1)):
        (tmp_path / "val" / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
                tmp_path / "val" / name / f"{index}.png"
            )
    check = Check.of(network="resnet10t:num_classes=3", metric="accuracy_top1", scope="network", res=("64",))
    stated = claim(Decimal("83.3"), unit="%", check=check, data="the folder")
    # Images of ten, one and one are no data to train a mechanism on, at a size that is not the checkpoint's.
    beside = claim(Decimal("9.5"), unit="k", check=Check(mechanism="mhsa", metric="params", scope="layer", dim=(48,)))
    ends = []
    for favourite in (0, 1):
        network = timm.create_model("resnet10t", num_classes=3)
        nn.init.zeros_(network.fc.weight)
        nn.init.zeros_(network.fc.bias)
        network.fc.bias.data[favourite] = 1.0
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        means = Means(device="cpu", dataset=f"folder:{tmp_path}", checkpoint=(f"resnet10t={tmp_path / 'weights.pth'}",))
        folder, console = tmp_path / f"run-{favourite}", Console(quiet=True)
        found = audit.judge([stated, beside], means, settings=QUICK, folder=folder, fresh=True, console=console)
        ends.append([one.verdict for one in found.judgements])
    assert ends == [[ClaimVerdict.REPRODUCED] * 2, [ClaimVerdict.DIFFERS, ClaimVerdict.REPRODUCED]]


def test_claims_of_a_mechanism_without_a_ledger_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("")
    with pytest.raises(UsageError, match="no ledger beside"):
        audit.claims_of([f"{path}:Mine"])
