"""The command: what is asked for, a row and a picture for each, and what fails."""

import csv
import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from attnbench.cli.reaching import reach
from attnbench.errors import UsageError
from attnbench.mechanism import Mechanism
from attnbench.reach import asking, words
from attnbench.reach.asking import NetworkReach, ReachRequest
from attnbench.reach.gradients import StageInfluence
from attnbench.reach.influence import Influence


def influence(spread):
    along = np.arange(16) + 0.5 - 8
    sizes = np.exp(-(along[:, None] ** 2 + along[None] ** 2) / spread)
    return StageInfluence(stage=1, influence=Influence(sizes=sizes, row=8, column=8, stride=2))


FOUND = (
    NetworkReach(name="a", state="initial", seeds=((influence(20),), (influence(30),))),
    NetworkReach(name="a", state="trained", seeds=((influence(60),), (influence(70),))),
    NetworkReach(name="=b", state="initial", failure="RuntimeError: no"),
)


def test_the_table_has_a_row_for_each_stage_with_the_interval_over_seeds():
    rows = list(words.rows(FOUND, window=3))
    read = list(csv.DictReader(io.StringIO(words.text(rows))))
    assert [(row["name"], row["state"], row["stage"], row["seeds"]) for row in read] == [
        ("a", "initial", "1", "2"), ("a", "trained", "1", "2"), ("'=b", "initial", "", "0"),
    ]  # fmt: skip
    each = [seed[0].influence.beyond(6) for seed in FOUND[0].seeds]
    assert float(read[0]["beyond_window"]) == pytest.approx(sum(each) / 2, rel=1e-5)
    assert float(read[0]["beyond_window_ci_low"]) <= min(each)
    assert float(read[1]["beyond_window"]) > float(read[0]["beyond_window"])
    assert read[2]["failure"] == "RuntimeError: no"
    assert asking.names(FOUND) == ["a, initial", "a, trained", "=b"]


def test_a_mechanism_that_raises_costs_no_other(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from attnbench.mechanism import Mechanism\n\nclass Broken(Mechanism):\n    '''Raises.'''\n\n"
        "    def forward(self, x):\n        raise RuntimeError('no map for you')\n"
    )
    asked = ["--mechanisms", f"{broken}:Broken,qna", "--networks", "resnet10t", "--res", "32", "--images", "1",
             "--seeds", "1", "--out", str(tmp_path / "out"), "--threads", "1"]  # fmt: skip
    done = CliRunner().invoke(reach, asked)
    assert done.exit_code == 1, done.output
    assert "RuntimeError: no map for you" in done.output
    read = list(csv.DictReader((tmp_path / "out" / "reach.csv").read_text().splitlines()))
    assert [row["name"] for row in read[1:]] == ["qna"] * 4 + ["resnet10t"] * 4
    with Image.open(tmp_path / "out" / "reach.png") as picture:
        assert picture.width > picture.height > 500


def test_trained_and_as_it_starts_are_seen_on_the_same_images():
    class Own(Mechanism):
        """Each token by itself."""

        def forward(self, x):
            return x * 0.1

    asked = ReachRequest(train="digits", epochs=1, images=3, seeds=1)
    data = asking._data(asked)
    before, after = asking._of_mechanism("own", Own, asked, data, lambda: None)
    assert (before.state, after.state) == ("initial", "trained")
    assert len(before.seeds[0]) == len(after.seeds[0]) == 3
    assert before.seeds[0][0].influence.sizes.shape == (8, 8)
    assert not np.allclose(before.seeds[0][0].influence.sizes, after.seeds[0][0].influence.sizes)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            ["--networks", "resnet10t", "--checkpoint", "resnet18=x"],
            "--checkpoint resnet18=x: it is none of --networks",
        ),
        (["--networks", "resnet10t", "--checkpoint", "resnet10t=x"], "--checkpoint resnet10t=x: there is no such file"),
        (["--networks", "resnet10t", "--checkpoint", "resnet10t"], "--checkpoint resnet10t: write NETWORK=FILE"),
        (["--networks", "resnet10t", "--res", "0"], "--res 0: expected pixels"),
        (["--networks", "resnet10"], "unknown network 'resnet10'; did you mean"),
        (["--mechanisms", "qna", "--train", "digit"], "--train digit: no data set is called 'digit'"),
        (["--mechanisms", "qna", "--train", "shift"], "--train shift: it is a task"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_before_anything_is(asked, said, tmp_path):
    done = CliRunner().invoke(reach, [*asked, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, UsageError)
    assert said in done.exception.mistakes[0]
    assert not (tmp_path / "out").exists()
