import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from installations import put_mechanisms

from attnbench.cli import listing
from attnbench.errors import PluginError
from attnbench.plugins import registry, source

MINE = '''
"""A file of somebody's."""
from typing import Any, Literal
from attnbench.mechanism import Macs, Map, Mechanism, Site


class Mine(Mechanism):
    """Returns half the map.

    Not much else.
    """

    paper = "Nobody, 2026"

    def __init__(self, site: Site, *, scale: float = 0.5, backend: Literal["plain"] = "plain") -> None:
        super().__init__(site)
        self.scale = scale

    def forward(self, x: Map) -> Map:
        return self.scale * x

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:
        return Macs(projections=0, attention=0)


class NotOne:
    pass
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def entry(name: str, value: str = "attnbench.mechanisms.mhsa:MHSA") -> EntryPoint:
    return EntryPoint(name=name, value=value, group=registry.GROUP)


def test_the_built_ins_come_through_the_door_that_is_open_to_all() -> None:
    found = registry.discover().plugins
    assert {"mhsa", "swin", "hmhsa", "qna", "lavit"} <= found.keys()
    assert found["mhsa"].distribution.startswith("attnbench ")


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    with pytest.raises(PluginError, match=r"unknown mechanism 'hmsa'; did you mean hmhsa"):
        registry.discover().find("hmsa")


def test_a_name_claimed_twice_is_refused_and_others_are_not() -> None:
    found = registry.discover([entry("a"), entry("b"), entry("a", "other:Thing")])
    assert list(found.plugins) == ["b"]
    with pytest.raises(PluginError, match="'a' is claimed by"):
        found.find("a")


def test_one_distribution_met_twice_is_no_conflict() -> None:
    assert list(registry.discover([entry("a"), entry("a")]).plugins) == ["a"]


def test_a_local_file_is_loaded_and_named_by_its_content(mine: Path) -> None:
    plugin = registry.discover().find(f"{mine}:Mine")
    assert plugin.load().__name__ == "Mine"
    mine.write_text(MINE + "\n# changed\n")
    assert registry.discover().find(f"{mine}:Mine").distribution != plugin.distribution


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{}:Min", "did you mean Mine"),
        ("{}:NotOne", "a subclass of attnbench.mechanism.Mechanism or of torch.nn.Module is needed"),
        ("{}", "write {}:MyAttention"),
        ("{}x.py:Mine", "cannot read"),
    ],
)
def test_a_local_file_that_does_not_fit_is_refused_with_what_would_do(mine: Path, spec: str, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        registry.discover().find(spec.format(mine)).load()
    assert said.format(mine) in str(caught.value)


@pytest.mark.parametrize("text", ["import nothing_of_the_kind", "raise SystemExit(3)", "def f(:"])
def test_a_plugin_that_does_not_import_names_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=r"from broken.py sha256:\w+ does not import: .*fix"):
        registry.from_file(path, "Mine").load()


def test_a_file_that_needs_its_neighbour_is_told_how_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("from attnbench.mechanism import Mechanism\n")
    path = tmp_path / "mine.py"
    path.write_text(f"from neighbour_of_mine import *\n{MINE}")
    with pytest.raises(PluginError, match=rf"neighbour_of_mine lies beside it.* put PYTHONPATH={tmp_path} before"):
        registry.from_file(path, "Mine").load()
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.from_file(path, "Mine").load().__name__ == "Mine"


def test_a_file_that_needs_what_is_nowhere_is_told_to_install_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import nothing_of_the_kind.at_all")
    with pytest.raises(PluginError, match=r"install what has nothing_of_the_kind, fix .*mine\.py or leave"):
        registry.from_file(path, "Mine").load()


def test_facts_are_read_without_running_anything(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise SystemExit\n" + MINE)
    facts = source.read(registry.from_file(path, "Mine"))
    assert facts.summary == "Returns half the map."
    assert facts.paper == "Nobody, 2026"
    assert facts.options == {"scale": "0.5", "backend": "'plain'"}


def test_options_are_read_whether_or_not_they_are_by_keyword_only(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    def __init__(self, site, window, bias=True, *, scale=1.0): ...\n")
    facts = source.read(registry.from_file(path, "Mine"))
    assert facts.options == {"window": "required", "bias": "True", "scale": "1.0"}


def test_options_of_a_layer_of_anyones_are_those_that_no_site_fills_in(tmp_path: Path) -> None:
    path = tmp_path / "theirs.py"
    path.write_text(
        "class Theirs:\n"
        "    def __init__(self, dim, groups, num_heads=8, resolution=14, window=-1, norm=nn.LayerNorm, rank=None,"
        " device=None): ...\n"
    )
    facts = source.read(registry.from_file(path, "Theirs"))
    assert facts.options == {"groups": "required", "window": "-1"}


@pytest.mark.parametrize(("name", "policy"), [("swin", "fixed, scaled"), ("maxvit", "fixed, scaled")])
def test_choices_that_a_built_in_takes_from_another_are_read(name: str, policy: str) -> None:
    assert source.read(registry.discover().plugins[name]).admits["resolution_policy"] == policy


def test_a_class_of_an_installed_module_is_listed() -> None:
    (table,) = listing.named_tables(["timm.layers.halo_attn:HaloAttn"])
    assert "block_size=8: a whole number" in str(next(iter(table.columns[1].cells)))


def test_thirty_installed_mechanisms_are_listed_without_importing_one_or_torch(tmp_path: Path) -> None:
    put_mechanisms(tmp_path, 30)
    code = (
        "import sys; from attnbench.cli.main import attnbench; attnbench(['list'], standalone_mode=False);"
        "print([name for name in sys.modules if name.split('.')[0] in {'plenty', 'mechanisms', 'torch'}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed, _, imported = done.stdout.rstrip().rpartition("\n")
    assert imported == "[]"
    for number in range(30):
        for said in (
            f"plenty_{number} ",
            f"What layer {number} does.",
            f"Nobody, paper {number} ",
            f"window={number} ",
        ):
            assert said in listed


@pytest.mark.parametrize("name", sorted(registry.discover().plugins))
def test_every_built_in_says_what_it_is_in_its_source(name: str) -> None:
    facts = source.read(registry.discover().plugins[name])
    assert facts.summary.endswith(".")
    assert "arXiv:" in facts.paper


def test_what_cannot_be_read_has_no_facts(tmp_path: Path) -> None:
    plugin = registry.Plugin(name="x", module="no_such_package.x", attribute="X", distribution="x 1")
    assert source.read(plugin) == source.Facts()


def test_what_an_option_admits_is_read_from_its_annotation(tmp_path: Path) -> None:
    (tmp_path / "kinds.py").write_text("from typing import Literal\nForm: object = Literal['a', 2]\n")
    path = tmp_path / "mine.py"
    path.write_text(
        "from typing import Literal\nimport typing\nfrom .kinds import Form as Kind\n"
        "Size = int | Literal['auto']\nLoop = Loop\n"
        "class Mine:\n"
        "    def __init__(self, site, *, size: Size = 'auto', kind: Kind = 2, bias: bool = True,"
        " one: typing.Literal['x'] = 'x', maybe: float | None = None, odd: list = (), loop: Loop = 1, bare=3): ...\n"
    )
    facts = source.read(registry.from_file(path, "Mine"))
    assert facts.admits == {
        "size": "a whole number or auto",
        "kind": "a, 2",
        "bias": "on or off",
        "one": "x",
        "maybe": "a number or none",
    }


NESTED = """
from torch import nn


class Outer:
    class Inner(nn.Linear):
        layout = "BNC"

        def __init__(self, dim, *, bias: bool = True):
            super().__init__(dim, dim, bias=bias)
"""


@pytest.mark.parametrize(
    "value", ["nested_one:Outer.Inner", "nested_one:Outer.Inner [fast]", "nested_one : Outer.Inner"]
)
def test_entry_points_may_name_a_class_within_another_and_extras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (tmp_path / "nested_one.py").write_text(NESTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "nested_one", raising=False)
    plugin = registry.discover([entry("inner", value)]).plugins["inner"]
    assert plugin.load().__name__ == "Inner"
    assert source.read(plugin).options["bias"] == "True"
    assert registry.discover([]).find("nested_one:Outer.Inner").load().__name__ == "Inner"
    assert registry.discover([]).find(f"{tmp_path}/nested_one.py:Outer.Inner").load().__name__ == "Inner"


def test_an_entry_point_without_a_class_is_refused_with_who_brings_it(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="json has no"):
        registry.discover([entry("none", "json")]).find("none").load()
