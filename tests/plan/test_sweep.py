from dataclasses import replace

import pytest

from attnbench.axes import resolution
from attnbench.errors import UsageError
from attnbench.plan.preflight import Finding, Preflight, Wanted
from attnbench.plan.request import Request
from attnbench.plan.sweep import Sweep, plan
from attnbench.record import Mode, Scope, Status, Task


def preflight_of(request: Request) -> Preflight:
    """A preflight in which every mechanism exists, with the options that were written."""
    findings = []
    for wanted in request.wanted:
        name, *options = wanted.spec.split(":")
        values = {"backend": wanted.backend or "sdpa", **dict(option.split("=") for option in options)}
        findings.append(
            Finding(wanted=wanted, name=name, options=values, backends=("sdpa", "unfused"), distribution=f"{name} 1")
        )
    return Preflight(findings=tuple(findings), devices=("cpu",))


def planned(**axes: object) -> Sweep:
    request = Request.of(**({"mechanisms": ("hmhsa", "qna")} | axes))
    return plan(request, preflight_of(request))


def mistakes(**axes: object) -> list[str]:
    with pytest.raises(UsageError) as caught:
        planned(**axes)
    return list(caught.value.mistakes)


def test_every_combination_becomes_a_cell_with_the_baseline_first() -> None:
    sweep = planned(res=("224", "512x256"), dtype=("fp32", "bf16"))
    assert [cell.mechanism for cell in sweep.cells[:3]] == ["mhsa", "hmhsa", "qna"]
    assert len(sweep.cells) == 3 * 2 * 2
    assert {(cell.height, cell.width) for cell in sweep.cells} == {(224, 224), (512, 256)}
    assert {cell.dtype for cell in sweep.cells} == {"float32", "bfloat16"}
    assert len({cell.key for cell in sweep.cells}) == len(sweep.cells)


def test_every_group_refers_to_its_own_baseline() -> None:
    sweep = planned(res=("224", "512"), compile=("on", "off"))
    by_key = {cell.key: cell for cell in sweep.cells}
    assert len(sweep.baselines) == 2
    for group, key in sweep.baselines.items():
        assert by_key[key].group == group
        assert (by_key[key].mechanism, by_key[key].compiled) == ("mhsa", False)


def test_without_a_baseline_nothing_is_added() -> None:
    sweep = planned(baseline="none")
    assert [cell.mechanism for cell in sweep.cells] == ["hmhsa", "qna"]
    assert sweep.baselines == {}


def test_a_baseline_asked_for_in_other_words_is_not_measured_twice() -> None:
    sweep = planned(mechanisms=("mhsa:backend=sdpa", "qna"))
    assert [cell.mechanism for cell in sweep.cells] == ["mhsa", "qna"]
    assert list(sweep.baselines.values()) == [sweep.cells[0].key]


def test_backends_are_an_axis() -> None:
    sweep = planned(mechanisms=("mhsa",), backend=("sdpa", "unfused"))
    assert [cell.options["backend"] for cell in sweep.cells] == ["sdpa", "unfused"]


def test_a_layer_sits_at_a_stage_of_the_backbone() -> None:
    sweep = planned(scope=("layer",), stage=("1", "4"), depth=6)
    found = {(c.scope, c.stage, c.dim, c.heads, c.depth) for c in sweep.cells}
    assert found == {(Scope.LAYER, 1, 96, 3, 6), (Scope.LAYER, 4, 768, 24, 6)}
    other = planned(scope=("layer",), dim=320, heads=5)
    assert {(c.stage, c.dim, c.heads) for c in other.cells} == {(3, 320, 5)}


def test_accuracy_is_a_cell_of_its_own_for_each_mechanism() -> None:
    sweep = planned(res=("224", "512"), accuracy="digits", seeds=2)
    trained = [cell for cell in sweep.cells if cell.task is Task.ACCURACY]
    assert [(c.mechanism, c.dataset, c.seeds, c.mode) for c in trained] == [
        (name, "digits", 2, Mode.TRAIN) for name in ("mhsa", "hmhsa", "qna")
    ]


def test_a_recipe_trains_mechanisms_at_one_size_and_networks_at_each() -> None:
    asked = {"res": ("64", "96"), "accuracy": "folder:x", "recipe": "deit", "epochs": 5}
    request = Request.of(mechanisms=("mhsa",), networks=("resnet18",), scope=("backbone", "network"), **asked)
    trained = [cell for cell in plan(request, preflight_of(request)).cells if cell.task is Task.ACCURACY]
    assert sorted((c.name, c.scope, c.height, c.recipe, c.epochs, c.checkpoint) for c in trained) == [
        ("mhsa", Scope.BACKBONE, 64, "deit", 5, ""),
        ("resnet18", Scope.NETWORK, 64, "deit", 5, ""),
        ("resnet18", Scope.NETWORK, 96, "deit", 5, ""),
    ]
    assert [one.trained for one in request.wanted if one.network] == [True]


def test_a_recipe_is_refused_with_a_checkpoint_and_what_is_generated() -> None:
    found = mistakes(accuracy="digits", recipe="diet", networks=("a",), checkpoint=("a=b",))
    assert any(each.startswith("--recipe diet: did you mean deit?") for each in found)
    assert any(each.startswith("--recipe trains networks from random weights") for each in found)
    assert any("give --accuracy folder:PATH" in each for each in mistakes(accuracy="digits", recipe="deit"))


@pytest.mark.parametrize(("text", "pixels"), [("224", (224, 224)), ("224x448", (224, 448)), ("1", (1, 1))])
def test_resolutions_are_height_by_width(text: str, pixels: tuple[int, int]) -> None:
    assert resolution(text) == pixels


@pytest.mark.parametrize("text", ["0", "224x", "x224", "224x0", "-1", "2.5", "a", "224X224", "1x2x3", ""])
def test_what_is_no_resolution_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected pixels"):
        resolution(text)


def test_all_mistakes_are_reported_together() -> None:
    found = mistakes(
        res=("0", "224x"), dtype=("float23",), device=("cuda",), mode=("trian",), batch=("0",), scope=("laer",), depth=0
    )
    assert len(found) == 8
    assert any("did you mean float32" in line for line in found)
    assert any("did you mean train" in line for line in found)
    assert any("torch sees cpu" in line for line in found)
    assert any(line.startswith("--depth '0'") for line in found)


@pytest.mark.parametrize(
    "axes",
    [
        {"res": ("224", "224x224")},
        {"dtype": ("fp32", "float32")},
        {"mechanisms": ("qna", "qna:backend=sdpa")},
        {"mechanisms": ("qna", "qna")},
    ],
)
def test_what_is_given_twice_is_refused(axes: dict[str, tuple[str, ...]]) -> None:
    (line,) = mistakes(**axes)
    assert "given 2 times" in line


def test_a_backend_that_nobody_has_is_refused() -> None:
    (line,) = mistakes(backend=("unfusd",))
    assert "did you mean unfused" in line


def test_mistakes_of_plugins_are_passed_on() -> None:
    request = Request(mechanisms=("qna",), baseline="none")
    broken = Preflight(findings=(Finding(wanted=Wanted(spec="qna"), mistakes=("qna: broken",)),), devices=("cpu",))
    with pytest.raises(UsageError, match="qna: broken"):
        plan(request, broken)


def test_what_a_mechanism_did_to_the_process_that_loaded_it_is_the_ending_of_its_cells_alone() -> None:
    request = Request.of(mechanisms=("hmhsa", "qna"), res=("224", "512"), accuracy="digits")
    found = preflight_of(request)
    lost = replace(found.findings[1], status=Status.CRASHED, reason="killed by SIGSEGV while loading")
    sweep = plan(request, replace(found, findings=(found.findings[0], lost, found.findings[2])))
    assert sweep.endings == {
        cell.key: ("crashed", "killed by SIGSEGV while loading") for cell in sweep.cells if cell.mechanism == "hmhsa"
    }
    assert len(sweep.endings) == 3


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    request = Request(mechanisms=("qna",))
    with_gpu = replace(preflight_of(request), devices=("cpu", "cuda:0"))
    assert {cell.device for cell in plan(request, with_gpu).cells} == {"cuda:0"}
    assert {cell.device for cell in planned().cells} == {"cpu"}


def test_networks_are_cells_of_their_own_scope_beside_mechanisms_in_theirs() -> None:
    sweep = planned(networks=("hat_net_tiny", "resnet18"), scope=("backbone", "network"))
    found = [(cell.scope, cell.mechanism, cell.network) for cell in sweep.cells]
    assert found == [
        (Scope.BACKBONE, "mhsa", ""),
        (Scope.BACKBONE, "hmhsa", ""),
        (Scope.BACKBONE, "qna", ""),
        (Scope.NETWORK, "", "hat_net_tiny"),
        (Scope.NETWORK, "", "resnet18"),
    ]


def test_networks_refer_to_the_first_of_them_or_to_the_one_asked_for() -> None:
    networks = ("hat_net_tiny", "resnet18")
    first = planned(mechanisms=(), networks=networks, scope=("network",))
    assert list(first.baselines.values()) == [first.cells[0].key]
    asked = planned(mechanisms=(), networks=networks, scope=("network",), baseline="resnet18")
    assert list(asked.baselines.values()) == [asked.cells[1].key]
    assert planned(mechanisms=(), networks=networks, scope=("network",), baseline="none").baselines == {}


def test_a_scope_without_anything_to_measure_is_a_mistake() -> None:
    assert "name them with --networks" in mistakes(scope=("network",), mechanisms=())[0]
    assert "add network to --scope" in mistakes(networks=("resnet18",))[0]


def test_heads_of_dense_tasks_go_on_networks_at_the_sizes_that_papers_state() -> None:
    sweep = planned(
        mechanisms=(), networks=("resnet18",), scope=("network",), task=("classification", "segmentation", "detection")
    )
    assert [(cell.head, cell.height, cell.width) for cell in sweep.cells] == [
        ("", 224, 224),
        ("segmentation", 512, 512),
        ("detection", 800, 1280),
    ]
    asked = planned(mechanisms=(), networks=("resnet18",), scope=("network",), task=("segmentation",), res=("64",))
    assert [(cell.head, cell.height) for cell in asked.cells] == [("segmentation", 64)]
    assert "heads are put on networks" in mistakes(task=("detection",))[0]
    assert "did you mean detection" in mistakes(task=("detecton",))[0]


def test_a_mechanism_can_be_given_a_name_and_be_the_baseline_by_it() -> None:
    sweep = planned(mechanisms=("ours=hmhsa", "qna"), baseline="ours")
    assert [cell.label for cell in sweep.cells] == ["ours", "qna"]
    assert [cell.mechanism for cell in sweep.cells] == ["hmhsa", "qna"]
    assert set(sweep.baselines.values()) == {sweep.cells[0].key}


@pytest.mark.parametrize("named", [("qna=hmhsa", "qna"), ("ours=hmhsa", "ours=qna")])
def test_a_name_of_two_things_is_refused(named: tuple[str, ...]) -> None:
    assert any("give each a name of its own" in said for said in mistakes(mechanisms=named))
