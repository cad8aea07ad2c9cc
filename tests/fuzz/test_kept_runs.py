"""A run's folder of a stranger with something changed in it is verified and compared: findings, or a line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fuzzing
import numpy as np
import pytest
from fuzzing import JSON
from hypothesis import example, given
from hypothesis import strategies as st

from attnbench import files
from attnbench.compare.runs import ComparedRun
from attnbench.errors import AttnbenchError
from attnbench.reading import MisreadError
from attnbench.store import timed_calls
from attnbench.verify import verify

pytestmark = fuzzing.LONG
RUN = Path(__file__).parents[2] / "results/reference/hmhsa+qna-224+512-amd-epyc-2-cores"
SUFFIXES = {".jsonl", ".json", ".csv", ".npz", ".md"}
FILES = sorted(str(path.relative_to(RUN)) for path in RUN.rglob("*") if path.suffix in SUFFIXES)
LINES = [json.loads(line) for line in (RUN / "records.jsonl").read_text().splitlines()]
FIELDS = sorted(
    {
        (outer, inner)
        for line in LINES
        for outer, held in line.items()
        for inner in (held if type(held) is dict else [""])
    }
)
ARRAYS = dict(np.load(next(iter(sorted((RUN / "samples").iterdir())))))
DTYPES = ["<i8", ">i4", "<f8", "<f2", "?", "<U16", "<U1", "S3", "<c16", "<M8[s]", "i4,f8"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(RUN, tmp_path_factory.mktemp("kept") / "run"))


def _cut(content: bytes, at: int, new: bytes, over: int) -> bytes:
    place = at % (len(content) + 1)
    return content[:place] + new + content[place + over :]


CHANGES: st.SearchStrategy[Callable[[bytes], bytes]] = st.builds(
    lambda at, new, over: lambda content: _cut(content, at, new, over),
    st.integers(0, 2**20),
    st.binary(max_size=6) | st.sampled_from([b"nan", b"-1", b"1e999", b"\0", b"\n", b'"', b"null", b"[" * 200, b"|"]),
    st.sampled_from([0, 1, 2, 5, 100, 2**30]),
)


def looked_at(folder: Path) -> None:
    with fuzzing.bounded("kept runs"), contextlib.suppress(AttnbenchError):
        found = verify(folder, counts=False)
        assert all(len(str(each)) < fuzzing.MOST_SAID for each in found.findings)
    with fuzzing.read_or_refused("kept runs"):
        run = ComparedRun.read(folder)
        for record in run.records:
            run.seconds(record)


def with_file(folder: Path, name: str, content: bytes) -> Iterator[None]:
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(content)
    try:
        yield
    finally:
        (folder / name).write_bytes(before)


@fuzzing.fuzzed(10, weight=40)
@given(name=st.sampled_from(FILES), change=CHANGES)
def test_a_changed_byte_is_a_finding_or_a_line(kept: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    for _ in with_file(kept, name, change((RUN / name).read_bytes())):
        looked_at(kept)


@fuzzing.fuzzed(10, weight=40)
@given(line=st.integers(0, len(LINES) - 1), field=st.sampled_from(FIELDS), value=JSON)
@example(line=0, field=("metrics", "latency_median_s"), value=1e308)
@example(line=0, field=("metrics", "macs"), value=0)
def test_a_changed_figure_is_a_finding_or_a_line(kept: Path, line: int, field: tuple[str, str], value: Any) -> None:
    outer, inner = field
    content = LINES[line] | {outer: LINES[line][outer] | {inner: value} if inner else value}
    lines = [*LINES[:line], content, *LINES[line + 1 :]]
    for _ in with_file(kept, "records.jsonl", "".join(json.dumps(each) + "\n" for each in lines).encode()):
        looked_at(kept)


@st.composite
def arrays(draw: st.DrawFn) -> dict[str, Any]:
    """Return timed calls of which some have another type, shape or length, or are not there."""
    found: dict[str, Any] = dict(ARRAYS)
    for name in draw(st.lists(st.sampled_from([*ARRAYS, "baseline_key", "baseline_elapsed_ns"]), max_size=3)):
        shape = draw(st.sampled_from([(), (0,), (1,), (8,), (9,), (2, 4)]))
        fill = draw(st.sampled_from([0, 1, -1, 2**31 - 1]))
        with np.errstate(all="ignore"):
            found[name] = np.full(shape, fill).astype(draw(st.sampled_from(DTYPES)))
    for name in draw(st.lists(st.sampled_from(list(ARRAYS)), max_size=1)):
        found.pop(name, None)
    return found


@fuzzing.fuzzed(30, weight=4)
@given(content=arrays())
def test_timed_calls_of_any_kind_are_read_or_refused(kept: Path, content: dict[str, Any]) -> None:
    name, written = next(name for name in FILES if name.startswith("samples/")), io.BytesIO()
    np.savez_compressed(written, **content)
    for _ in with_file(kept, name, written.getvalue()):
        looked_at_calls(kept)


def looked_at_calls(folder: Path) -> None:
    from attnbench.verify import samples
    from attnbench.verify.finding import Tally
    from attnbench.verify.kept import read

    with fuzzing.read_or_refused("timed calls"):
        tally = Tally()
        found = read(folder, tally)
        samples.check(found, samples.read(found, tally), tally)
    with fuzzing.read_or_refused("timed calls"):
        run = ComparedRun.read(folder)
        for record in run.records:
            run.seconds(record)


def test_timed_calls_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_calls, "MOST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("elapsed_ns.npy", bytes(1001))
    with pytest.raises(MisreadError, match="expands to 1001 bytes"):
        timed_calls.read(tmp_path / "a.npz")
    np.save(tmp_path / "b.npy", np.arange(3))
    with pytest.raises(MisreadError, match="no timed calls"):
        timed_calls.read(tmp_path / "b.npy")


@pytest.mark.timeout(60)
def test_no_pipe_in_the_place_of_a_file_is_waited_for(kept: Path, tmp_path: Path) -> None:
    for name in FILES:
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(kept, folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        looked_at_calls(folder)
    with pytest.raises(files.NoFileError):
        files.opened(folder / name)
