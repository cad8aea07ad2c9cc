"""What is planned where checkpoints are evaluated under heads, and what is said of what does not go together."""

from __future__ import annotations

import pytest

from attnbench.errors import UsageError
from attnbench.plan import on_annotated
from attnbench.plan.preflight import Finding, Preflight
from attnbench.plan.request import Request
from attnbench.plan.sweep import plan
from attnbench.record import Cell, Mode, Scope, Task

NETWORK = {"networks": ("resnet18",), "scope": ("network",), "checkpoint": ("resnet18=FILE",)}
ADE20K = NETWORK | {"task": ("segmentation",), "accuracy": "ade20k:data"}
COCO = NETWORK | {"task": ("detection",), "accuracy": "coco:data"}


def evaluated(**asked: object) -> list[Cell]:
    request = Request.of(**({"threads": "1"} | asked))
    findings = [
        Finding(wanted=each, name=each.spec, distribution=f"{each.spec} 1", checkpoint_sha256="abc")
        for each in request.wanted
    ]
    cells = plan(request, Preflight(findings=tuple(findings), devices=("cpu",))).cells
    return [cell for cell in cells if cell.task is Task.ACCURACY]


def mistakes(**asked: object) -> list[str]:
    with pytest.raises(UsageError) as caught:
        evaluated(**asked)
    return list(caught.value.mistakes)


def test_a_checkpoint_is_evaluated_under_its_head_at_the_sizes_of_its_costs() -> None:
    (usual,) = evaluated(**ADE20K)
    assert (usual.network, usual.head, usual.height, usual.width) == ("resnet18", "segmentation", 512, 512)
    assert (usual.scope, usual.mode, usual.dataset) == (Scope.NETWORK, Mode.INFER, "ade20k:data")
    assert (usual.checkpoint, usual.checkpoint_sha256, usual.size_divisor) == ("FILE", "abc", 0)
    several = evaluated(**COCO, res=("800x1280", "640"), pad=("32", "128"))
    assert [(cell.height, cell.width, cell.size_divisor) for cell in several] == [
        (800, 1280, 32),
        (800, 1280, 128),
        (640, 640, 32),
        (640, 640, 128),
    ]


def test_a_checkpoint_is_looked_at_with_its_head_at_the_sizes_of_its_costs() -> None:
    for asked, sizes in ((COCO, [(800, 1280)]), (COCO | {"res": ("640",)}, [(640, 640)]), (NETWORK, [(224, 224)])):
        request = Request.of(threads="1", **asked)
        assert list(on_annotated.sizes(request)) == sizes
        (wanted,) = request.wanted
        assert wanted.head == (asked.get("task") or ("",))[0]


def test_of_heads_that_a_data_set_is_not_for_only_costs_are_measured() -> None:
    (cell,) = evaluated(**COCO | {"task": ("segmentation", "instance")})
    assert cell.head == "instance"


def test_mechanisms_beside_networks_have_no_score() -> None:
    both = ADE20K | {"scope": ("backbone", "network"), "mechanisms": ("qna",), "baseline": "none"}
    assert [cell.network for cell in evaluated(**both)] == ["resnet18"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (ADE20K | {"task": ("classification",)}, "networks are evaluated under a head; give --task segmentation"),
        (ADE20K | {"task": ("detection",)}, "networks are evaluated under a head; give --task segmentation"),
        (
            {"mechanisms": ("qna",), "baseline": "none", "accuracy": "ade20k:data"},
            "networks are evaluated on it, by --networks NAME --task HEAD --checkpoint NAME=FILE",
        ),
        (ADE20K | {"class_order": "text"}, "its classes are numbered by itself; leave --class-order out"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_line(asked: dict[str, object], said: str) -> None:
    assert mistakes(**asked) == [f"--accuracy ade20k:data: {said}"]


def test_one_file_is_of_one_head_and_none_is_random_weights() -> None:
    assert mistakes(**COCO | {"task": ("detection", "instance")}) == [
        "--accuracy coco:data: a checkpoint is of one head; give one of --task detection, instance"
    ]
    assert mistakes(**ADE20K | {"checkpoint": ()}) == [
        "--accuracy: resnet18 would be evaluated with random weights; give --checkpoint resnet18=FILE"
    ]
    assert mistakes(**ADE20K | {"checkpoint": (), "recipe": "short"}) == [
        "--recipe short: recipes are for images in folders and the like; give --accuracy folder:PATH"
    ]
