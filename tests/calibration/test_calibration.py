"""The command: what is trained, what is kept, what a proxy is said to be good for, and what a mistake costs."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from attnbench.accuracy.data.splits import Dataset, Pixels
from attnbench.calibration import asking, kept, surroundings, training, words
from attnbench.calibration.asking import CalibrationRequest
from attnbench.calibration.published import NETWORKS
from attnbench.calibration.training import ProxyScore
from attnbench.cli.calibrating import calibrate
from attnbench.errors import StoreError, UsageError

THREE = ("resnet18", "pvt_v2_b0", "pvt_v2_b1")


def scored(shares, proxy="digits", chance=0.1):
    return [
        ProxyScore(network=name, proxy=proxy, seed=0, steps=5, share=share, chance=chance)
        for name, share in zip(NETWORKS, shares, strict=False)
    ]


@pytest.fixture
def learned(monkeypatch):
    """The trainings that were asked for; each network scores what is published of it."""
    asked = []

    def learn(network, proxy, *, seed, steps):
        asked.append((network.name, proxy, seed))
        if network.name == "pvt_v2_b0" and seed == 1:
            raise FloatingPointError("the loss is nan")
        share = network.top1 / 100
        return ProxyScore(network=network.name, proxy=proxy, seed=seed, steps=steps, share=share, chance=0.1)

    monkeypatch.setattr(asking, "learn", learn)
    return asked


def test_what_was_trained_is_not_trained_again_and_a_line_that_was_cut_off_is_left_out(learned, tmp_path):
    asked = CalibrationRequest(proxies=("digits", "shift:offset=4"), networks=THREE)
    first = asking.calibrate(asked, folder=tmp_path)
    assert len(learned) == len(first.scores) == asking.total(asked) == 6
    file = tmp_path / kept.FILE
    file.write_text(file.read_text()[:-10])
    learned.clear()
    assert asking.calibrate(asked, folder=tmp_path) == first
    assert learned == [("pvt_v2_b1", "shift:offset=4", 0)]
    assert len(kept.read(tmp_path)) == 6


def test_a_training_that_fails_costs_no_other(learned, tmp_path):
    found = asking.calibrate(CalibrationRequest(proxies=("digits",), networks=THREE, seeds=2), folder=tmp_path)
    assert len(found.scores) == 5
    assert found.failures == ("pvt_v2_b0 on digits, seed 1: FloatingPointError: the loss is nan",)


def test_a_folder_that_holds_something_else_is_named(tmp_path):
    (tmp_path / kept.FILE).write_text('{"network": "resnet18"}\n')
    with pytest.raises(StoreError, match=r"scores\.jsonl, line 1: .*move the file away"):
        kept.read(tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"networks": ("resnet19", *THREE)}, "--networks resnet19: did you mean resnet18"),
        ({"networks": THREE[:2]}, "3 and more make a ranking, got 2"),
        ({"proxies": ("shift:offset=99",)}, "shift:offset=99: "),
        ({"proxies": ("digit",)}, "digit: no data set is called 'digit'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_trained(learned, tmp_path, given, said):
    with pytest.raises(UsageError, match=said):
        asking.calibrate(CalibrationRequest(**given), folder=tmp_path)
    assert not learned


def test_the_command_writes_the_page(learned, tmp_path):
    page = tmp_path / "deep" / "page.md"
    given = ["digits", "--networks", ",".join(THREE), "--out", str(tmp_path), "--markdown", str(page), "--threads", "1"]
    done = CliRunner().invoke(calibrate, given)
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert r"| resnet18.a3\_in1k | ResNet | 68.3 | 68.3 |" in text
    assert "1 of 1" in text
    assert "200 steps of 64 images or 8 maps, 1 seed" in text
    assert surroundings.lines()[1] in text


def said(block):
    return "".join(
        each if isinstance(each, str) else each.text for each in (block if isinstance(block, tuple) else (block,))
    )


@pytest.mark.parametrize(
    ("share", "verdict"),
    [
        (lambda place, top1: top1 / 100, "digits ranks them: Spearman's correlation is 1.00 [1.00, 1.00]"),
        (lambda place, top1: 1 - top1 / 100, "digits ranks them the wrong way round: "),
        (lambda place, top1: 0.5 + 0.1 * (place % 3), "digits does not rank them: Spearman's correlation, "),
        (lambda place, top1: top1 / 1000, "digits does not rank them: it is learned by 0 of 11 networks"),
    ],
)
def test_a_proxy_is_said_to_rank_networks_or_not_to(share, verdict):
    shares = [share(place, row.top1) for place, row in enumerate(NETWORKS.values())]
    (proxy,) = words.proxies(scored(shares))
    assert said(proxy.verdict).startswith(verdict)


def test_two_networks_are_said_to_make_no_ranking():
    (proxy,) = words.proxies(scored([0.5, 0.6]))
    assert said(proxy.verdict) == "digits: of 2 networks only, which make no ranking"
    assert words.page([proxy], [], command="c", machine=["m"], trained="t")


@pytest.mark.parametrize(("images", "steps", "epochs", "each"), [(1000, 4, 1, 256), (128, 6, 3, 128), (70, 1, 1, 64)])
def test_so_many_steps_are_a_part_of_the_images_or_several_epochs(images, steps, epochs, each):
    split = Pixels(torch.zeros(images, 1, 1, 1), torch.arange(images))
    data = Dataset(name="n", train=split, held_out=split, classes=2, channels=1, height=1, width=1, batch=7, epochs=9)
    found = training.shortened(data, steps=steps, seed=0)
    assert (found.epochs, found.batch, len(found.train)) == (epochs, 64, each)
    other = training.shortened(data, steps=steps, seed=1)
    assert (found.train.labels.tolist() == other.train.labels.tolist()) == (each == images)


@pytest.mark.parametrize("proxy", ["digits", "shift:offset=1,2"])
def test_a_seed_gives_one_score_and_leaves_torch_as_it_was(proxy, monkeypatch):
    monkeypatch.setattr(training.learning, "STEPS", 1)
    monkeypatch.setattr(training, "STEPS", 1)
    monkeypatch.setattr(training, "BATCH", 8)
    monkeypatch.setattr(training, "HELD_OUT", 16)
    state = torch.get_rng_state()
    first = training.learn(NETWORKS["pvt_v2_b0"], proxy, seed=3, steps=1)
    torch.rand(3)
    assert training.learn(NETWORKS["pvt_v2_b0"], proxy, seed=3, steps=1) == first
    torch.set_rng_state(state)
    assert 0 <= first.share <= 1
