"""Ledgers: what stands in them, and what is refused."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from attnbench.claims import arithmetic, fit, ledger
from attnbench.claims.claim import Check
from attnbench.errors import UsageError
from attnbench.plugins.registry import discover, from_file


def test_formulas_are_arithmetic_and_nothing_else() -> None:
    assert arithmetic.evaluate("4*N*C**2 + 2*N**2*C/h", {"N": 3, "C": 2, "h": 2}) == 4 * 3 * 4 + 2 * 9 * 2 / 2
    for wrong in ("__import__('os')", "N.real", "N if N else 1", "'N'", "N +", "f(N)"):
        with pytest.raises(ValueError, match=r"formula|more than|number|symbol"):
            arithmetic.parse(wrong, names={"N"})
    with pytest.raises(ValueError, match="unknown symbol 'M'; known: C, N"):
        arithmetic.parse("N*M", names={"N", "C"})


def test_the_exponent_of_a_power_law_is_recovered_and_its_interval_widens_off_it() -> None:
    x = [1.0, 2.0, 4.0, 8.0, 16.0]
    exact = fit.exponent(x, [3 * each**1.5 for each in x])
    assert exact.value == pytest.approx(1.5)
    assert exact.high - exact.low < 1e-6
    bent = fit.exponent(x, [each + each**2 for each in x])
    assert 1 < bent.low < bent.value < bent.high < 2
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        fit.exponent([1, 2], [1, 2])


ENTRY = """
[[claim]]
id = "a.params"
says = "parameters of a"
quantity = "params"
value = 12.70
unit = "M"
source = "a paper, table 1"
certainty = "verbatim"
check = { network = "a", metric = "params" }
reasons = [{ says = "products left out", metric = "macs", less = "macs_attention" }]
"""


def ledger_of(folder: Path, text: str) -> Path:
    (folder / "claims.toml").write_text(text)
    return folder / "claims.toml"


def test_a_claim_is_as_exact_as_its_last_printed_digit(tmp_path: Path) -> None:
    (claim,) = ledger.read(ledger_of(tmp_path, ENTRY))
    assert claim.value == Decimal("12.70")
    assert claim.tolerance == pytest.approx(0.005)
    assert replace(claim, value=Decimal(29)).tolerance == 0.5
    assert claim.check == Check(network="a", metric="params", scope="network")
    assert claim.reasons[0].check.less == "macs_attention"
    assert claim.reasons[0].check.network == "a"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('unit = "M"', 'unit = "furlongs"', "unknown unit 'furlongs'"),
        ('source = "a paper, table 1"', "", "lacks source"),
        ('certainty = "verbatim"', 'certainty = "surely"', "certainty 'surely'; expected verbatim"),
        ('metric = "params"', 'metric = "parms"', "unknown metric 'parms'; did you mean params"),
        ('network = "a"', 'network = "a", mechanism = "b"', "either a mechanism or a network"),
        ('network = "a"', 'netwrok = "a"', "unknown name 'netwrok'; did you mean network"),
        ("value = 12.70", 'value = "many"', "is a text"),
        ('check = { network = "a", metric = "params" }', "", "a reason says why"),
        ('less = "macs_attention"', 'formula = "N*Q"', "unknown symbol 'Q'"),
        (', metric = "macs", less = "macs_attention"', "", "changes nothing in the check"),
        ("value = 12.70", "value = inf", "value Infinity is no figure"),
        ('network = "a"', 'network = "a", stage = [5]', "stage '5': known: 1, 2, 3, 4"),
        (
            'network = "a"',
            'network = "a", along = "w", values = ["a", "b"], take = "exponent"',
            "an exponent is fitted along an option whose 'values' are numbers, got a, b",
        ),
        ('unit = "M"', 'unit = "M"\nplot = "p"', "the plot 'p' is drawn along an option whose 'values' are numbers"),
        (
            'check = { network = "a"',
            'plot = "p"\ncheck = { along = "w", values = [1, 2], network = "a"',
            "the plot 'p' shows a ratio; give the other side as 'over'",
        ),
    ],
)
def test_what_is_wrong_with_a_claim_is_said_with_its_file_and_name(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert old in ENTRY
    with pytest.raises(UsageError) as error:
        ledger.read(ledger_of(tmp_path, ENTRY.replace(old, new)))
    assert said in str(error.value)
    assert str(tmp_path / "claims.toml") in str(error.value)
    assert "a.params" in str(error.value)


def test_every_mistake_of_every_claim_is_said_at_once(tmp_path: Path) -> None:
    text = ENTRY.replace('"M"', '"m"') + ENTRY.replace("a.params", "b") + ENTRY.replace("a.params", "b")
    with pytest.raises(UsageError) as error:
        ledger.read(ledger_of(tmp_path, text + "[other]\n"))
    assert len(error.value.mistakes) == 3  # the unit, the name [other], and b twice
    with pytest.raises(UsageError, match="is not TOML"):
        ledger.read(ledger_of(tmp_path, "[[claim"))
    with pytest.raises(UsageError, match="'claim' is no array of tables; write"):
        ledger.read(ledger_of(tmp_path, ENTRY.replace("[[claim]]", "[claim]")))


def test_the_ledgers_that_come_with_attnbench_are_whole_and_sourced() -> None:
    claims = ledger.find(discover().plugins.values())
    assert {"hmhsa", "mhsa", "qna", "swin", "lavit", "nat", "dinat", "tome"} <= {claim.mechanism for claim in claims}
    assert all(claim.source and claim.says and claim.quantity for claim in claims)


def test_a_local_file_brings_its_ledger_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("")
    assert ledger.find([from_file(path, "Mine")]) == []
    (tmp_path / "mine.claims.toml").write_text(ENTRY)
    (claim,) = ledger.find([from_file(path, "Mine")])
    assert claim.id == "a.params"
    assert claim.mechanism == f"{path}:Mine"
