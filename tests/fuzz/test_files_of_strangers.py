"""Whatever a file of a stranger holds, it is read or refused in a line: no other exception comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzzing
import pytest
from fuzzing import JSON, RECORD
from hypothesis import example, given
from hypothesis import strategies as st

from attnbench import files, inert
from attnbench.claims import ledger
from attnbench.engines import site
from attnbench.models.tensors import read as read_checkpoint
from attnbench.plan.given import read_request
from attnbench.reading import MisreadError
from attnbench.runs import limits
from attnbench.store import asked, pytest_json, records

pytestmark = fuzzing.LONG
CHANGED = st.builds(lambda name, value: {**RECORD, name: value}, st.sampled_from([*RECORD, "later"]), JSON)
IN_THE_CELL = st.builds(
    lambda name, value: {**RECORD, "cell": {**RECORD["cell"], name: value}}, st.sampled_from([*RECORD["cell"]]), JSON
)
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "records": ("records.jsonl", records.read),
    "asked": ("asked.json", lambda path: asked.read(path.parent)),
    "limits": ("limits.json", lambda path: limits.read(path.parent)),
    "benchmark": ("a.json", pytest_json.records_from),
    "sweep": ("a.toml", lambda path: read_request(path, {}, threads=1)),
    "ledger": ("claims.toml", ledger.read),
    "site": ("site.toml", site.read),
    "checkpoint": ("a.pth", read_checkpoint),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def reads_or_refuses(kind: str, content: bytes, folder: Path) -> None:
    name, read = READERS[kind]
    (folder / name).write_bytes(content)
    with fuzzing.read_or_refused(kind):
        read(folder / name)


@pytest.mark.parametrize("kind", READERS)
@fuzzing.fuzzed()
@given(content=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(content=b"[" * 100_000)
@example(content=b"\xef\xbb\xbf\0\n")
@example(content=b'{"format": 3, "cell": 5}\n')
@example(content=b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\xc8\x17\xa8\x04\x85R.")
@example(content=b"a = " + b"9" * 5000)
def test_bytes(kind: str, folder: Path, content: bytes) -> None:
    reads_or_refuses(kind, content, folder)


@pytest.mark.parametrize("kind", ["records", "asked", "limits", "benchmark"])
@fuzzing.fuzzed()
@given(content=JSON | CHANGED | IN_THE_CELL)
@example(content={"benchmarks": [{"extra_info": None}], "datetime": ""})
@example(content={"by_command": 5})
def test_json(kind: str, folder: Path, content: Any) -> None:
    reads_or_refuses(kind, json.dumps(content).encode() + b"\n", folder)


@fuzzing.fuzzed()
@given(noted=JSON, median=st.floats() | JSON, rounds=JSON)
def test_benchmarks(folder: Path, noted: Any, median: Any, rounds: Any) -> None:
    one = {"fullname": "a", "stats": {"median": median, "rounds": rounds}, "extra_info": {"attnbench": noted}}
    reads_or_refuses("benchmark", json.dumps({"datetime": "", "benchmarks": [one]}).encode(), folder)


NAMES = [
    *("id", "says", "value", "check", "reasons", "hardware", "mechanism", "symbols", "values", "formula", "metric"),
    *("timeout", "seeds", "res", "networks"),
]


@pytest.mark.parametrize("kind", ["sweep", "ledger", "site"])
@fuzzing.fuzzed()
@given(entries=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))
@example(entries={"id": [""]})
@example(entries={"hardware": 1})
@example(entries={"check": {"formula": "-" * 5000 + "N"}})
@example(entries={"kinds": {"h100": {"slurm": {"more": [1]}, "machines": 1e400}, "\ud800": {}, "x": 3}, "slurm": 1})
@example(entries={"kinds": {"cuda": {"ray": {"resources": {"": float("nan")}}, "memory": "9" * 400 + "GB"}}})
def test_toml(kind: str, folder: Path, entries: dict[str, Any]) -> None:
    def written(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(name)} = {written(each)}" for name, each in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(written, value)) + "]"
        return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").replace("null", '""')

    head = "[[claim]]\n" if kind == "ledger" else ""
    text = head + "\n".join(f"{json.dumps(name)} = {written(value)}" for name, value in entries.items())
    reads_or_refuses(kind, text.encode("utf-8", "surrogatepass"), folder)


@fuzzing.fuzzed()
@given(text=st.text(alphabet=st.characters()))
@example(text="\ud800\x1b[2J\u061c\u200f\n=cmd()|<script>")
def test_text_of_strangers(text: str) -> None:
    fuzzing.count["texts"] += 1
    assert all(one.isprintable() or one == "\n" for one in inert.shown(text))
    assert "\n" not in inert.markdown(text)
    cell = str(inert.spreadsheet(text))
    assert cell.isprintable()
    cell.encode()
    "µ±²".encode("ascii", inert.NEAREST)
    text.encode("ascii", inert.NEAREST)


def test_a_misread_file_names_itself(folder: Path) -> None:
    (folder / "x.json").write_text("{")
    with pytest.raises(MisreadError, match=r"x\.json, line 1"):
        files.json_of(folder / "x.json", dict[str, int])
