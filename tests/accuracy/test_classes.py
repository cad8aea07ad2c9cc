"""The classes of a folder of images: which they are, how they are numbered, and what an accuracy says of that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from attnbench.accuracy import doubt, evaluation
from attnbench.accuracy.classes import NATURAL, OWN, TEXT, Numbering, listing, number, read
from attnbench.accuracy.data import datasets, folders
from attnbench.errors import DataError
from attnbench.plan.request import Request

NUMBERED = [str(number) for number in range(12)]
AS_TEXT = sorted(NUMBERED)


def write(root: Path, names: list[str], *, images: int = 8) -> Path:
    """A folder of classes whose images have one grey each, which a network can go by: 20 for 0, 40 for 1, and so on."""
    for name in names:
        folder = root / "val" / name
        folder.mkdir(parents=True)
        grey = 20 * (1 + (int(name) if name.isdecimal() else sorted(names).index(name)))
        for index in range(images):
            Image.new("L", (8, 8), grey).save(folder / f"{index}.png")
    return root


class Reads(nn.Module):
    """Names the grey of an image, by the order of classes that it was trained in."""

    pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "crop_pct": 1.0}  # noqa: RUF012

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        self.place = torch.tensor([order.index(str(grey)) for grey in range(len(order))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = (x[:, 0, 0, 0] * 255 / 20).round().long() - 1
        return nn.functional.one_hot(self.place[grey], len(self.place)).float()


def weights(path: Path, **beside: object) -> Path:
    torch.save({"state_dict": {"w": torch.zeros(1)}, **beside}, path)
    return path


def evaluated(root: Path, trained: list[str], checkpoint: Path, *, asked: str = "") -> evaluation.Evaluation:
    images, network = evaluation.find(str(root)), Reads(trained)
    numbers = evaluation.numbering(images, checkpoint, asked=asked, outputs=len(trained))
    return evaluation.evaluate(network, images, numbers, transform=evaluation.preprocessing(network, height=8, width=8))


# The order of classes


@pytest.mark.parametrize(
    "beside",
    [
        {"class_to_idx": {name: at for at, name in enumerate(AS_TEXT)}},
        {"meta": {"CLASSES": tuple(AS_TEXT)}},
        {"hyper_parameters": {"data": {"id2label": {str(at): name for at, name in enumerate(AS_TEXT)}}}},
        {"classes": 12, "class_names": AS_TEXT},
    ],
    ids=["mapping", "list", "within others", "a count beside it"],
)
def test_a_checkpoints_own_classes_go_first(tmp_path: Path, beside: dict[str, object]) -> None:
    checkpoint = weights(tmp_path / "w.pth", **beside)
    found = evaluated(write(tmp_path / "data", NUMBERED), AS_TEXT, checkpoint, asked=NATURAL)
    assert (found.top1, found.order) == (1.0, OWN)
    assert found.remark == "by the classes of the checkpoint"


def test_safetensors_and_the_configuration_of_a_hub_name_classes_too(tmp_path: Path) -> None:
    metadata = {"class_to_idx": json.dumps({name: at for at, name in enumerate(AS_TEXT)})}
    safetensors.torch.save_file({"w": torch.zeros(1)}, tmp_path / "w.safetensors", metadata=metadata)
    (tmp_path / "hub").mkdir()
    safetensors.torch.save_file({"w": torch.zeros(1)}, tmp_path / "hub" / "model.safetensors")
    (tmp_path / "hub" / "config.json").write_text(json.dumps({"num_classes": 12, "label_names": AS_TEXT}))
    data = write(tmp_path / "data", NUMBERED)
    for checkpoint in (tmp_path / "w.safetensors", tmp_path / "hub" / "model.safetensors"):
        assert evaluated(data, AS_TEXT, checkpoint).top1 == 1


def test_where_nobody_says_both_orders_are_shown(tmp_path: Path) -> None:
    found = evaluated(write(tmp_path / "data", NUMBERED), AS_TEXT, weights(tmp_path / "w.pth"))
    assert found.top1 == pytest.approx(2 / 12)
    assert "with the classes in the order of timm: 2 before 10" in found.remark
    assert "in the order of torchvision's ImageFolder, --class-order text, 100.0% would be right" in found.remark


@pytest.mark.parametrize(("trained", "asked"), [(AS_TEXT, TEXT), (NUMBERED, NATURAL)])
def test_an_order_is_chosen_and_said(tmp_path: Path, trained: list[str], asked: str) -> None:
    found = evaluated(write(tmp_path / "data", NUMBERED), trained, weights(tmp_path / "w.pth"), asked=asked)
    assert (found.top1, found.order) == (1.0, asked)
    assert "with the classes in the order of" in found.remark
    assert "would be right" not in found.remark


def test_a_file_says_an_order_that_is_nobodys(tmp_path: Path) -> None:
    trained = NUMBERED[::-1]
    for name, text in (("a.txt", "\n".join(trained) + "\n"), ("a.json", json.dumps(trained))):
        (tmp_path / name).write_text(text)
        data = tmp_path / "data" if (tmp_path / "data").exists() else write(tmp_path / "data", NUMBERED)
        found = evaluated(data, trained, weights(tmp_path / "w.pth"), asked=str(tmp_path / name))
        assert found.top1 == 1


def test_upper_and_lower_case_are_an_order_too() -> None:
    found = number(["Zebra", "ape"], own=(), asked="", outputs=2)
    assert dict(found.numbers) == {"ape": 0, "Zebra": 1}
    assert found.remark.endswith("ape before Zebra")
    assert dict(number(["Zebra", "ape"], own=(), asked=TEXT, outputs=2).numbers) == {"Zebra": 0, "ape": 1}


def test_of_names_that_every_order_has_alike_nothing_is_said(tmp_path: Path) -> None:
    assert number(["n01440764", "n02102040"], own=(), asked="", outputs=2).remark == ""


# Classes that are missing, and folders that are none


def test_a_class_that_is_missing_shifts_no_other(tmp_path: Path) -> None:
    """Known by the checkpoint's names, by a file, or by an empty folder; otherwise refused with what would do."""
    there = [name for name in NUMBERED if name != "3"]
    data = write(tmp_path / "data", there)
    named = weights(tmp_path / "named.pth", classes=NUMBERED)
    found = evaluated(data, NUMBERED, named)
    assert (found.top1, found.remark) == (1.0, "by the classes of the checkpoint, of 11 of its 12 classes")
    with pytest.raises(DataError, match="an empty folder for each class that is not there"):
        evaluated(data, NUMBERED, weights(tmp_path / "w.pth"))
    (data / "val" / "3").mkdir()
    found = evaluated(data, NUMBERED, weights(tmp_path / "w.pth"))
    assert found.top1 == 1
    assert "without any image of 3" in found.remark


def test_what_is_hidden_or_in_no_folder_is_no_class_and_said(tmp_path: Path) -> None:
    data = write(tmp_path / "data", NUMBERED)
    image = next((data / "val" / "0").iterdir()).read_bytes()
    for place in (".ipynb_checkpoints", "0/.ipynb_checkpoints", "5/@eaDir", "__MACOSX/1"):
        (data / "val" / place).mkdir(parents=True)
        (data / "val" / place / "copy.png").write_bytes(image)
    (data / "val" / "stray.png").write_bytes(image)
    (data / "val" / "1" / "._0.png").write_bytes(b"of another system")
    images = evaluation.find(str(data))
    assert list(images.classes) == AS_TEXT
    assert len(images.samples) == 96
    assert set(images.left_out) == {".ipynb_checkpoints/", "@eaDir/", "__MACOSX/", "stray.png", "1/._0.png"}
    assert "without what is hidden, in no class or in no format that is read" in images.remark


def test_hidden_folders_are_not_trained_on(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("L", (8, 8)).save(tmp_path / split / name / "0.png")
    for place in (".ipynb_checkpoints", "a/.ipynb_checkpoints"):
        (tmp_path / "train" / place).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / "train" / place / "0.png")
    name = f"folder:{tmp_path}"
    datasets.check(name)
    data = datasets.load(name, image_size=(8, 8))
    assert (data.classes, len(data.train)) == (2, 2)


def test_a_class_without_images_is_not_trained_on(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            if (split, name) != ("train", "b"):
                Image.new("L", (8, 8)).save(tmp_path / split / name / "0.png")
    with pytest.raises(DataError, match="train has no images of b"):
        datasets.check(f"folder:{tmp_path}")


def test_folders_within_a_class_are_of_it_and_groups_of_classes_are_none(tmp_path: Path) -> None:
    for place in ("cat/0.png", "cat/more/1.png", "birds/owl/2.webp", "birds/emu/3.PNG"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / place)
    found = folders.find(tmp_path)
    assert found.classes == ("cat", "emu", "owl")
    assert [name for _, name in found.samples] == ["emu", "owl", "cat", "cat"]


# Names and files that cannot be used


def test_folders_that_are_no_classes_of_the_checkpoint_are_named() -> None:
    with pytest.raises(DataError, match="no class of the checkpoint is called dgo; did you mean dog"):
        number(["cat", "dgo"], own=("cat", "dog"), asked="", outputs=2)


def test_names_that_are_nobodys_folders_are_not_gone_by_and_that_is_said() -> None:
    found = number(["n1", "n2"], own=("tench", "goldfish"), asked="", outputs=2)
    assert (found.order, dict(found.numbers)) == (NATURAL, {"n1": 0, "n2": 1})
    assert "tench" in found.remark


@pytest.mark.parametrize("text", ["", "a\na\n", "[1, 2]", "{", '{"a": 1, "b": 2}'])
def test_a_file_that_names_no_order_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "order").write_text(text)
    with pytest.raises(DataError, match="--class-order"):
        read(tmp_path / "order")


@pytest.mark.parametrize("value", [12, "cat", [], ["a", "a"], {"a": 0, "b": 2}, {"a": "b"}, {}, None, [1, 2]])
def test_what_is_no_list_of_classes_is_none(value: object) -> None:
    assert listing(value) == ()


def test_a_folder_of_results_keeps_its_name_where_no_order_is_asked_for() -> None:
    usual, asked = (Request.of(networks=("a",), class_order=order) for order in ("", TEXT))
    assert usual.digest == Request.of(networks=("a",)).digest != asked.digest


# Doubts


def made(share: float, *, images: int = 20, classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Answers of which a share is right, the others drawn."""
    draw = np.random.default_rng(0)
    right = np.repeat(np.arange(classes), images)
    return right, np.where(draw.random(len(right)) < share, right, draw.integers(0, classes, len(right)))


PLAIN = Numbering(numbers={str(at): at for at in range(12)}, order=NATURAL)


def test_a_score_that_is_near_chance_is_questioned() -> None:
    right, said = made(0)
    assert any("not told from always naming the commonest class, 8.3% right" in each for each in doubt.of(
        right, said, PLAIN, high=0.15
    ))  # fmt: skip


@pytest.mark.parametrize("moved", [lambda x: (x + (x >= 3)) % 12, lambda x: 11 - x], ids=["shifted", "turned"])
def test_a_score_that_other_numbers_explain_is_questioned(moved: object) -> None:
    right, said = made(0.9)
    assert any(each.startswith("questioned") for each in doubt.of(right, moved(said), PLAIN, high=0.5))


@pytest.mark.parametrize("images", [1, 2, 20])
@pytest.mark.parametrize("share", [0.35, 0.6, 0.9, 1.0])
def test_an_honest_score_is_not_questioned(share: float, images: int) -> None:
    right, said = made(share, images=images)
    top1 = float((right == said).mean())
    found = doubt.of(right, said, PLAIN, high=top1 + 0.05)
    assert not any(each.startswith("questioned") for each in found)
    if images == 20:
        assert found == []
