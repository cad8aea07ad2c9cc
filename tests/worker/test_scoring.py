"""What is done to a cell that asks for accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_garments import composites
from PIL import Image

from attnbench import store
from attnbench.accuracy.composites import batches, bodies
from attnbench.accuracy.composites import learning as head_learning
from attnbench.accuracy.data import datasets
from attnbench.accuracy.data.splits import Pixels
from attnbench.accuracy.tasks import learning, network
from attnbench.accuracy.tasks.curve import Curve
from attnbench.models.pyramid import Pyramid
from attnbench.plan import sweep
from attnbench.plan.preflight import Finding, Preflight, Wanted
from attnbench.plan.request import Request
from attnbench.record import Cell, Record, Scope, Status, Task
from attnbench.report.rows import rows
from attnbench.runs import runner
from attnbench.runs.job import Assignment, Settings
from attnbench.store import unfinished
from attnbench.verify.engine import verify
from attnbench.worker.ready import Unmeasurable
from attnbench.worker.scoring import measure_accuracy


def cell(**how: Any) -> Cell:
    asked = {"mechanism": "mhsa", "dataset": "shift:offset=1,2", "seeds": 2, "epochs": 1, "options": {}}
    return Cell(task=Task.ACCURACY, height=6, width=24, **(asked | how))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "STEPS", 1)


@pytest.mark.usefixtures("quick")
def test_what_an_interrupted_run_has_learned_is_taken_up() -> None:
    kept: list[dict[str, Any]] = []
    fractions: list[float] = []
    assignment = Assignment(cell=cell(), known={"accuracy_curve": "1: 0.75 -; 2: 0.5 0.25"})
    metrics = measure_accuracy(
        assignment, Settings(), lambda _: None, lambda phase, found: kept.append({phase: found}), fractions.append
    )
    (learned,) = kept
    curve = Curve.read(str(learned["training"]["accuracy_curve"]))
    assert (curve.shares[1][0], curve.shares[2]) == (0.75, (0.5, 0.25))
    assert metrics["accuracy_curve"] == str(curve)
    assert fractions == [0.75]


def test_a_training_on_digits_goes_on_with_the_seeds_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    whole_set = datasets.load("digits")
    assert isinstance(whole_set.train, Pixels)
    first = Pixels(whole_set.train.images[:64], whole_set.train.labels[:64])
    few = replace(whole_set, train=first, held_out=first, batch=32)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: few)
    kept: list[tuple[str, dict[str, Any]]] = []
    asked = cell(dataset="digits", seeds=3)
    fractions: list[float] = []
    for known in ({}, {"accuracy_per_seed": "0.75 0.5"}):
        metrics = measure_accuracy(
            Assignment(cell=replace(asked, height=8, width=8), known=known), Settings(), lambda _: None,
            lambda phase, found: kept.append((phase, dict(found))), fractions.append,
        )  # fmt: skip
        if not known:
            whole = str(metrics["accuracy_per_seed"]).split()
            said = [("training", {"accuracy_per_seed": " ".join(whole[:count])}) for count in (1, 2)]
            assert kept == said
            fractions.clear()
    assert metrics["accuracy_per_seed"] == f"0.75 0.5 {whole[2]}"
    assert (len(kept), fractions[-1]) == (2, 1.0)
    assert min(fractions) > 2 / 3


def test_a_training_that_was_ended_verifies_with_the_seeds_until_then(tmp_path: Path) -> None:
    ended = Record(cell=cell(dataset="digits"), status=Status.FAILED, reason="x", metrics={"accuracy_per_seed": "0.8"})
    with store.Store(tmp_path, fresh=False) as kept:
        kept.append(ended)
    assert [each.figure for each in verify(tmp_path, counts=False).findings if "accuracy" in each.figure] == []


def test_a_map_that_a_mechanism_does_not_take_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "HEADS", 5)
    said = "at 6x24 tokens, dim 64, 5 heads: dim 64 does not divide into 5 heads"
    with pytest.raises(Unmeasurable, match=said):
        measure_accuracy(Assignment(cell=cell()), Settings(), lambda _: None, lambda *_: None, lambda _: None)


def test_a_task_has_a_size_of_its_own_whatever_sizes_are_asked_for() -> None:
    request = Request.of(mechanisms=("mhsa",), res=("224", "512"), accuracy="recall:distance=4", threads="1")
    found = Finding(wanted=Wanted(spec="mhsa"), name="mhsa", distribution="attnbench 0")
    planned = sweep.plan(request, Preflight(findings=(found,), devices=("cpu",)))
    (asked,) = (one for one in planned.cells if one.task is Task.ACCURACY)
    assert (asked.height, asked.width, asked.dataset, asked.seeds) == (6, 24, "recall:distance=4", 3)


def test_a_run_that_is_left_goes_on_within_a_training_and_verifies(tmp_path: Path) -> None:
    """A worker of its own learns; what another run had learned of the cell by then is in its row."""
    asked = cell(dataset="shift:offset=1", options={"qkv_bias": True, "backend": "sdpa"})
    planned = sweep.Sweep(cells=(asked,), baselines={})
    (first,) = runner.run(planned, settings=Settings(), folder=tmp_path)
    environment = str(first.environment["environment_id"])
    unfinished.keep(tmp_path, asked, environment, "training", {"accuracy_curve": "1: 0.5 -"})
    known = unfinished.read(tmp_path)
    (record,) = runner.run(planned, settings=Settings(), folder=tmp_path, known=known)
    assert record.status is Status.OK
    own = Curve.read(str(record.metrics["accuracy_curve"])).shares[1]
    assert (own[0], own[1]) == (0.5, Curve.read(str(first.metrics["accuracy_curve"])).shares[1][1])
    assert rows([record])["accuracy_axis"].tolist() == ["offset (tokens)"]


@pytest.fixture
def on_made_composites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_learning, "STEPS", 1)
    monkeypatch.setattr(batches, "load", lambda *_, height, **__: composites(side=height, batch=1, examined=1))
    monkeypatch.setattr(bodies, "PYRAMID", Pyramid(dims=(16, 16, 32, 32), depths=(1, 1, 1, 1), heads=(1, 1, 2, 2)))


SEGMENTED = {"dataset": "composite-segmentation", "head": "segmentation", "height": 64, "width": 64}


@pytest.mark.usefixtures("on_made_composites")
@pytest.mark.parametrize("who", [{}, {"mechanism": "", "network": "resnet18", "scope": Scope.NETWORK}])
def test_a_head_is_trained_on_composites_and_its_score_is_worked_out_again(tmp_path: Path, who: dict[str, Any]) -> None:
    asked = replace(cell(options={"backend": "sdpa"}, **who), **SEGMENTED)
    phases: list[str] = []
    metrics = measure_accuracy(Assignment(cell=asked), Settings(), phases.append, lambda *_: None, lambda _: None)
    assert phases == ["loading", "training"]
    assert metrics["accuracy_kind"] == "composites"
    assert 0 <= float(str(metrics["miou"])) <= 1
    assert len(str(metrics["miou_per_seed"]).split()) == metrics["accuracy_seeds"] == 2
    found = {}
    for name, change in {"honest": {}, "mean": {"miou": 0.9}, "end": {"miou_ci_high": 0.99}}.items():
        with store.Store(tmp_path / name, fresh=False) as kept:
            kept.append(Record(cell=asked, status=Status.OK, metrics={**metrics, **change}))
        figures = [each.figure for each in verify(tmp_path / name, counts=False).findings]
        found[name] = [figure for figure in figures if figure.startswith("miou")]
    assert found == {"honest": [], "mean": ["miou"], "end": ["miou_ci_high"]}


@pytest.mark.usefixtures("on_made_composites")
def test_boxes_and_masks_have_a_score_each_of_as_many_seeds() -> None:
    asked = replace(cell(options={"backend": "sdpa"}, seeds=1), **SEGMENTED | {"head": "instance"})
    metrics = measure_accuracy(Assignment(cell=asked), Settings(), lambda _: None, lambda *_: None, lambda _: None)
    assert {"ap_box", "ap_box_per_seed", "ap_mask", "ap_mask_per_seed"} <= metrics.keys()
    assert "miou" not in metrics
    assert str(metrics["accuracy_remark"]).startswith(
        "hardly told from who sees nothing, 0.0%; give more --epochs; of 1 seed"
    )


@pytest.mark.usefixtures("on_made_composites")
def test_a_backbone_that_a_mechanism_does_not_take_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PYRAMID", Pyramid(heads=(5, 5, 5, 5)))
    asked = replace(cell(options={"backend": "sdpa"}), **SEGMENTED)
    with pytest.raises(Unmeasurable, match="at 16x16 tokens, dim 96, 5 heads: dim 96 does not divide into 5 heads"):
        measure_accuracy(Assignment(cell=asked), Settings(), lambda _: None, lambda *_: None, lambda _: None)


@pytest.mark.usefixtures("quick")
def test_verify_works_out_the_seeds_of_a_curve_again(tmp_path: Path) -> None:
    metrics = measure_accuracy(Assignment(cell=cell()), Settings(), lambda _: None, lambda *_: None, lambda _: None)
    curve = Curve.read(str(metrics["accuracy_curve"])).with_share(2, 1, 0.9)
    changed = {"honest": {}, "curve": {"accuracy_curve": str(curve)}, "reach": {"accuracy_holds_to": 2}}
    found = {}
    for name, change in changed.items():
        record = Record(cell=cell(), status=Status.OK, metrics={**metrics, **change})
        with store.Store(tmp_path / name, fresh=False) as kept:
            kept.append(record)
        figures = [each.figure for each in verify(tmp_path / name, counts=False).findings]
        found[name] = [figure for figure in figures if figure.startswith("accuracy")]
    assert found == {"honest": [], "curve": ["accuracy_per_seed"], "reach": ["accuracy_holds_to"]}


def test_a_cell_that_is_trained_by_a_recipe_goes_on_from_its_own_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(3):
                Image.new("L", (40, 40), 60 * index).save(tmp_path / split / name / f"{index}.png")
    asked = cell(
        mechanism="", network="test_resnet", options={"backend": "sdpa"}, dataset=f"folder:{tmp_path}", recipe="short"
    )
    sized = replace(asked, scope=Scope.NETWORK, height=32, width=32)
    phases: list[str] = []
    for _ in range(2):
        metrics = measure_accuracy(
            Assignment(cell=sized),
            Settings(),
            phases.append,
            lambda *_: None,
            lambda _: None,
            checkpoints=tmp_path / "c",
        )
        assert (metrics["accuracy_kind"], metrics["epochs"], metrics["accuracy_seeds"]) == ("recipe short", 1, 2)
    assert phases == ["loading", "training"] * 2
    assert sorted(path.name for path in (tmp_path / "c" / sized.key).iterdir()) == ["seed-0.pth", "seed-1.pth"]
