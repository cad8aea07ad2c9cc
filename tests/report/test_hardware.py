"""Hardware is an axis of reports: machines side by side in the table of crossovers and in one plot."""

from __future__ import annotations

import pandas as pd
from records_for_reports import failed, row

from attnbench.report.comparison import prepared
from attnbench.report.document import document
from attnbench.report.findings import Findings
from attnbench.report.page.markdown import markdown
from attnbench.report.plots import figures

H100 = {"device": "cuda:0", "hardware": "NVIDIA H100 80GB HBM3", "environment_id": "a100", "hardware_kind": "h100"}
SIDES = (128, 224, 384)


def two_machines() -> pd.DataFrame:
    """mhsa and hmhsa, whose curves cross on the processor, and not on the GPU."""
    here = [row(name, side) for side in SIDES for name in ("mhsa", "hmhsa")]
    there = [{**each, **H100, "latency_median_s": each["latency_median_s"] / 20} for each in here]
    ends = {"latency_ci_low_s": 0.99, "latency_ci_high_s": 1.01}
    there = [{**each, **{end: factor * each["latency_median_s"] for end, factor in ends.items()}} for each in there]
    slow = {"latency_ratio": 1.5, "latency_ratio_ci_low": 1.49, "latency_ratio_ci_high": 1.51}
    return pd.DataFrame([*here, *({**each, **(slow if each["mechanism"] == "hmhsa" else {})} for each in there)])


def test_crossovers_of_machines_stand_beside_each_other() -> None:
    page = markdown(document(Findings(rows=prepared(two_machines())), command="attnbench report x"), None)
    table = page.partition("machine by machine")[2].partition("##")[0]
    assert "| cpu, Xeon 8480, 2 cores | cuda:0, NVIDIA H100 80GB HBM3 |" in table
    (line,) = [line for line in table.splitlines() if line.startswith("| hmhsa against mhsa")]
    here, there = line.split("|")[2:4]
    assert "ahead from" in here
    assert there.strip() == "behind at 128 to 384"


def test_latencies_of_machines_are_panels_of_one_plot_on_one_axis() -> None:
    found = dict(figures(prepared(two_machines())))
    panels = found["latency-machine-by-machine"].axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        "cpu, Xeon 8480, 2 cores",
        "cuda:0, NVIDIA H100 80GB HBM3",
    ]
    assert len({axes.get_ylim() for axes in panels}) == 1
    assert "latency-machine-by-machine" not in dict(figures(prepared(two_machines()[:6])))


def test_a_cell_that_never_ran_stands_with_the_kind_that_it_was_asked_for_on() -> None:
    lost = failed("qna", 224, "crashed", "killed", device="cuda:0", run_id="another", hardware_kind="h100")
    alone = failed("qna", 224, "crashed", "killed", device="cuda:0", run_id="another", hardware_kind="a100")
    rows = prepared(pd.concat([two_machines(), pd.DataFrame([lost, alone])]))
    assert rows["machine"].tolist()[-2:] == ["NVIDIA H100 80GB HBM3", "a100"]


def test_workers_that_share_a_sweep_are_no_runs_to_be_compared() -> None:
    rows = [
        row(name, side, run_id=f"worker {side} {dtype}", dtype=dtype)
        for dtype in ("float32", "bfloat16")
        for side in SIDES
        for name in ("mhsa", "hmhsa")
    ]
    page = markdown(document(Findings(rows=prepared(pd.DataFrame(rows))), command="attnbench report x"), None)
    assert "side by side" not in page
