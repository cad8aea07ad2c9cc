"""Every number that can be given has a range, is refused out of it before anything runs, and the range is said."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from attnbench.axes import AXES, resolution
from attnbench.cli.main import attnbench
from attnbench.errors import UsageError
from attnbench.plan import given, reading
from attnbench.plan.request import Request
from attnbench.ranges import Range, whole

NO_NUMBERS = ["inf", "-inf", "nan", "-0", "0", "-1", "1e300", "1e10", "99999999999", str(2**63), "9" * 5000]
WHOLE = {name: axis.read for name, axis in AXES.items() if isinstance(axis.read, Range)}
ASKED = {"mechanisms": ("mhsa",), "accuracy": "digits"}


def test_the_axes_that_are_numbers_are_those_that_have_a_range() -> None:
    assert set(WHOLE) == {"dim", "heads", "depth", "batch", "threads", "pad"}


@pytest.mark.parametrize("text", [*NO_NUMBERS, "", "1.5", "1e2", "+1", " 1", "\u00b2", "0x10", "1_0", "\ud800", "\0"])
@pytest.mark.parametrize("name", [*WHOLE, "res"])
def test_an_axis_refuses_what_is_out_of_its_range_and_says_it(name: str, text: str) -> None:
    mistakes: list[str] = []
    reading.read(Request.of(mechanisms="mhsa", **{name: (text,)}), ["cpu"], mistakes)
    (said,) = mistakes
    highest = AXES[name].read.highest if name in WHOLE else 65_535
    assert f"from 1 to {highest}" in said
    assert f"--{name} " in said


def test_both_ends_are_in_it() -> None:
    for within in WHOLE.values():
        assert (within("1"), within(str(within.highest)), within("007")) == (1, within.highest, 7)
        for text in ("0", "000", str(within.highest + 1)):
            with pytest.raises(ValueError, match="expected a whole number from 1 to"):
                within(text)
    assert resolution("65535x1") == (65535, 1)
    for text in ("224x", "x224", "224x0", "65536", "224x224x224", "224 x 224", "9" * 5000):
        with pytest.raises(ValueError, match="each from 1 to 65535"):
            resolution(text)


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("name", given._RANGES)
def test_a_setting_refuses_what_is_out_of_its_range_from_a_file_and_from_options(
    name: str, text: str, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(f'mechanisms = ["mhsa"]\naccuracy = "digits"\n{name} = {text}\n')
    number = float(text) if "n" in text or "e" in text else int(text) if len(text) < 4000 else 10**4000
    for path, options in ((file, {}), (None, {name: number})):
        try:
            asked = given.read_request(path, ASKED | options, threads=1)
        except UsageError as error:
            (said,) = error.mistakes
            assert given._RANGES[name].words in said or "expected a " in said or path
            assert len(said) < 400
        else:
            assert name == "memory_limit"  # in bytes, of which some of these are few
            assert asked[1].memory_limit_bytes in {1e10, 99999999999, 0}


def test_every_option_that_is_a_number_has_a_range() -> None:
    """A new one is found here, in whichever command it is."""
    unbounded = []
    for command in attnbench.commands.values():
        for option in command.params:
            bounded = isinstance(option.type, click.IntRange | click.FloatRange) and None not in (
                option.type.min,
                option.type.max,
            )
            number = option.type in {click.INT, click.FLOAT} or isinstance(
                option.type, click.IntRange | click.FloatRange
            )
            if number and not bounded and option.name not in {*given._RANGES, "threads"}:
                unbounded.append(f"{command.name} --{option.name}")
    # read where verdicts are: from 0 to 1
    assert unbounded == ["compare --threshold", "history --threshold"]


def test_what_is_no_number_lies_in_no_range() -> None:
    within = Range(lowest=0, highest=10, above=True)
    assert [within.holds(number) for number in (0, -0.0, 1e-300, 10, 10.1, float("inf"), float("nan"), 10**400)] == [
        False, False, True, True, False, False, False, False,
    ]  # fmt: skip
    assert not whole(1, 4).holds(2.5)
    assert whole(1, 4).holds(2.0)


@pytest.mark.parametrize("name", ["mechanisms", "networks", "backend"])
def test_a_name_given_twice_is_refused_from_a_file_and_from_options(name: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(f'{name} = ["a", "b", "a"]\n')
    for path, options in ((file, {}), (None, {name: ("a", "b", "a")})):
        request, _ = given.read_request(path, options, threads=1)
        assert f"--{name}: a is given 2 times; give it once" in reading.repeated(request)


def test_a_ledger_is_asked_for_once() -> None:
    from attnbench.claims import audit

    with pytest.raises(UsageError, match="mhsa is given 2 times"):
        audit.claims_of(["mhsa", "qna", "mhsa"])
