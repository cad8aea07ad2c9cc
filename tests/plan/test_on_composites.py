"""What is planned where composites are asked for, and what is said of what they do not suit."""

from __future__ import annotations

import pytest

from attnbench.errors import UsageError
from attnbench.plan import on_composites
from attnbench.plan.preflight import Finding, Preflight
from attnbench.plan.request import Request
from attnbench.plan.sweep import plan
from attnbench.record import Cell, Mode, Scope, Task

SEGMENTATION = "composite-segmentation"
NETWORK = {"networks": ("resnet18",), "scope": ("network",)}
MECHANISM = {"mechanisms": ("qna",), "baseline": "none"}


def trained(**asked: object) -> list[Cell]:
    request = Request.of(**({"accuracy": SEGMENTATION, "threads": "1"} | asked))
    findings = [Finding(wanted=each, name=each.spec, distribution=f"{each.spec} 1") for each in request.wanted]
    cells = plan(request, Preflight(findings=tuple(findings), devices=("cpu",))).cells
    return [cell for cell in cells if cell.task is Task.ACCURACY]


def mistakes(**asked: object) -> list[str]:
    with pytest.raises(UsageError) as caught:
        trained(**asked)
    return list(caught.value.mistakes)


def test_a_network_is_trained_under_the_head_that_is_asked_for_at_each_size() -> None:
    cells = trained(**NETWORK, task=("segmentation",), res=("128", "256x512"), seeds=4, epochs=2)
    assert [(cell.network, cell.head, cell.height, cell.width) for cell in cells] == [
        ("resnet18", "segmentation", 128, 128),
        ("resnet18", "segmentation", 256, 512),
    ]
    assert {(cell.scope, cell.mode, cell.dataset, cell.seeds, cell.epochs) for cell in cells} == {
        (Scope.NETWORK, Mode.TRAIN, SEGMENTATION, 4, 2)
    }
    (usual,) = trained(**NETWORK, task=("segmentation", "detection"), accuracy=f"{SEGMENTATION}:data")
    assert (usual.head, usual.height, usual.dataset) == ("segmentation", 512, f"{SEGMENTATION}:data")


def test_a_mechanism_is_trained_once_at_the_first_size_that_suits() -> None:
    for res, size in (({}, (128, 128)), ({"res": ("1024", "224x160", "512")}, (224, 160))):
        (cell,) = trained(**MECHANISM, **res)
        assert (cell.mechanism, cell.scope, cell.head) == ("qna", Scope.BACKBONE, "segmentation")
        assert (cell.height, cell.width) == size


def test_boxes_are_learned_under_two_heads_by_networks_and_under_one_by_mechanisms() -> None:
    both = {"task": ("detection", "instance", "segmentation"), "res": ("128",), "accuracy": "composite-detection"}
    assert [cell.head for cell in trained(**NETWORK, **both)] == ["detection", "instance"]
    assert [cell.head for cell in trained(**MECHANISM, accuracy="composite-detection")] == ["detection"]
    (asked,) = trained(**MECHANISM, accuracy="composite-detection", task=("instance",))
    assert (asked.head, asked.height) == ("instance", 128)
    several = "--accuracy composite-detection: mechanisms are trained under one head; give one --task"
    assert mistakes(**MECHANISM, accuracy="composite-detection", task=("detection", "instance")) == [several]
    unsuited = mistakes(**NETWORK, accuracy="composite-detection", task=("detection",))
    assert unsuited == [
        "--accuracy composite-detection: composites have sides from 128 to 512 pixels, not 800x1280; give other --res"
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (NETWORK, "networks are trained under a head; give --task segmentation"),
        (
            NETWORK | {"task": ("segmentation",), "res": ("128", "64")},
            "composites have sides from 128 to 512 pixels, not 64x64; give other --res",
        ),
        (MECHANISM | {"res": ("64", "1024")}, "no --res is from 128 to 512 pixels; add one that is"),
        (MECHANISM | {"task": ("detection",)}, "--task detection is of another data set; leave it out"),
        (
            NETWORK | {"task": ("segmentation",), "res": ("128",), "checkpoint": ("resnet18=FILE",)},
            "networks are trained on composites from random weights; leave --checkpoint out",
        ),
    ],
)
def test_what_does_not_suit_is_said_in_a_line(asked: dict[str, object], said: str) -> None:
    assert mistakes(**asked) == [f"--accuracy {SEGMENTATION}: {said}"]


def test_garments_are_composed_at_the_first_size_that_suits_and_are_as_they_are_elsewhere() -> None:
    asked = MECHANISM | {"accuracy": "fashion-mnist:data"}
    sizes = dict.fromkeys(((), ("32",), ("512", "300"), ("64x512",)), (28, 28))
    sizes |= {("224",): (224, 224), ("512", "64x96", "128"): (64, 96)}
    for res, size in sizes.items():
        (cell,) = trained(**asked, **({"res": res} if res else {}))
        assert (cell.height, cell.width, cell.dataset) == (*size, "fashion-mnist:data")


def test_without_photographs_a_line_says_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_composites, "find_spec", lambda _: None)
    asked = MECHANISM | {"accuracy": "fashion-mnist"}
    said = "at 64 to 256 pixels it is on scikit-image's photographs: pip install 'attnbench[composites]'"
    assert mistakes(**asked, res=("512", "224")) == [f"--accuracy fashion-mnist: {said}, or leave out such --res"]
    assert len(trained(**asked)) == 1
