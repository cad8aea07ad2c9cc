"""Checkpoints of every format: damaged, of any steps of a pickle, of any tree. Each is read or refused, none is run."""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path

import fuzzing
import msgpack
import pytest
import torch
from checkpoint_files import TENSORS, flax_bytes, write
from hypothesis import example, given
from hypothesis import strategies as st

from attnbench.models.tensors import read

pytestmark = fuzzing.LONG
KINDS = ["pth", "legacy pth", "safetensors", "npz", "flax"]
CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255) | st.binary(max_size=8)), min_size=1, max_size=6
)
SHAPES = st.lists(st.integers(-2, 4) | st.sampled_from([2**31, 2**62, 2**70]), max_size=4)
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary()
ARRAYS = st.builds(
    lambda shape, dtype, content: msgpack.packb((shape, dtype, content)),
    st.lists(st.integers(-2, 4) | st.sampled_from([2**31, 2**62, 2**63]), max_size=4),
    st.sampled_from(["float32", "int8", "bool", "bfloat16", "void", "object", ""]),
    st.binary(max_size=40),
)
TREES = st.recursive(
    LEAVES | st.builds(msgpack.ExtType, st.integers(0, 5), ARRAYS | st.binary(max_size=30)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("params"), inner, max_size=3)
    ),
    max_leaves=8,
)
GLOBALS = st.sampled_from(
    [b"posix\nsystem\n", b"builtins\neval\n", b"__builtin__\nbytearray\n", b"builtins\ngetattr\n", b"torch\nload\n",
     b"torch._utils\n_rebuild_tensor_v2\n", b"torch\nFloatStorage\n", b"collections\nOrderedDict\n", b"builtins\nset\n",
     b"torch\nSize\n", b"_codecs\nencode\n", b"argparse\nNamespace\n", b"os.path\njoin\n", b"torch\nzeros\n",
     b"torch._tensor\n_rebuild_from_type_v2\n", b"collections\nCounter\n", b"numpy\ndtype\n", b"builtins\nprint\n"]
)  # fmt: skip
PLAIN = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes if opcode.arg is None]
STEPS = st.one_of(
    st.sampled_from(PLAIN),
    st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
    st.integers(0, 3).map(lambda n: b"q" + bytes([n])),
    st.integers(0, 3).map(lambda n: b"h" + bytes([n])),
    st.integers(-(2**31), 2**31 - 1).map(lambda n: b"J" + n.to_bytes(4, "little", signed=True)),
    st.sampled_from(["storage", "cpu", "a", "true", "weight"]).map(
        lambda text: b"X" + len(text).to_bytes(4, "little") + text.encode()
    ),
    GLOBALS.map(lambda name: b"c" + name),
    st.binary(max_size=4),
)
PICKLES = st.lists(STEPS, max_size=25).map(lambda steps: b"\x80\x02" + b"".join(steps) + b".")
ITSELF_TWICE = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module", params=KINDS)
def honest(request: pytest.FixtureRequest, folder: Path) -> tuple[str, bytes]:
    (folder / request.param).mkdir()
    return request.param, write(folder / request.param, request.param, TENSORS).read_bytes()


def takes(folder: Path, content: bytes, kind: str) -> None:
    (folder / "a.pth").write_bytes(content)
    with fuzzing.read_or_refused(f"checkpoints, {kind}"):
        read(folder / "a.pth")


def damaged(content: bytes, changes: list[tuple[float, int | bytes]]) -> bytes:
    """Return a file with single bytes changed, and pieces put in or cut out."""
    data = bytearray(content)
    for where, what in changes:
        at = int(where * len(data))
        if isinstance(what, int):
            data[at : at + 1] = bytes([what])
        elif what:
            data[at : at + len(what)] = what
        else:
            del data[at:]
    return bytes(data)


@fuzzing.fuzzed()
@given(changes=CHANGES)
@example(changes=[(0.5, b"")])
def test_damage(honest: tuple[str, bytes], folder: Path, changes: list[tuple[float, int | bytes]]) -> None:
    kind, content = honest
    takes(folder, damaged(content, changes), kind)


@fuzzing.fuzzed()
@given(steps=PICKLES)
@example(steps=b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\xc8\x17\xa8\x04\x85R.")
@example(steps=b"\x80\x02)q\x00" + ITSELF_TWICE + b"}h\x3cJ\1\0\0\0s.")
@example(steps=b"\x80\x02})" + b"\x85" * 100_000 + b"J\1\0\0\0s.")
@example(steps=b"\x80\x02cposix\nsystem\nX\4\0\0\0true\x85R.")
def test_pickles(folder: Path, steps: bytes) -> None:
    takes(folder, steps, "steps of pickles")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a/data.pkl", steps)
        file.writestr("a/version", b"3\n")
        file.writestr("a/byteorder", b"little")
    takes(folder, archive.getvalue(), "steps of pickles")


@fuzzing.fuzzed()
@given(tree=st.dictionaries(st.text(max_size=5) | st.sampled_from(["params", "model"]), TREES, min_size=1, max_size=4))
def test_trees(folder: Path, tree: dict[str, object]) -> None:
    takes(folder, msgpack.packb(tree, strict_types=False), "trees of msgpack")


@fuzzing.fuzzed()
@given(
    header=st.dictionaries(
        st.text(max_size=4) | st.just("__metadata__"),
        st.fixed_dictionaries(
            {"dtype": st.sampled_from(["F32", "BF16", "I64", "X"]), "shape": SHAPES, "data_offsets": SHAPES}
        ),
        max_size=3,
    ),
    content=st.binary(max_size=64),
)
def test_headers(folder: Path, header: dict[str, object], content: bytes) -> None:
    import json

    said = json.dumps(header).encode()
    takes(folder, len(said).to_bytes(8, "little") + said + content, "headers of safetensors")


def test_what_is_damaged_here_is_read_where_it_is_whole(honest: tuple[str, bytes], folder: Path) -> None:
    (folder / "a.pth").write_bytes(honest[1])
    assert isinstance(next(iter(read(folder / "a.pth").values())), torch.Tensor)
    assert flax_bytes({"a": torch.zeros(1)})
