"""Checkpoint files of strangers: code never runs, and no file costs far more than its size."""

from __future__ import annotations

import os
import pickle
import re
import struct
import zipfile
from argparse import Namespace
from pathlib import Path, PureWindowsPath

import msgpack
import numpy as np
import pytest
import torch
from checkpoint_files import TENSORS, Calls, Counted, Touch, flax_bytes, write

from attnbench.errors import DataError
from attnbench.models.tensors import read

KINDS = pytest.mark.parametrize("kind", ["pth", "legacy pth", "safetensors", "npz", "flax"])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "data",
    [
        Namespace(lr=0.1, out=Path("out")),
        np.float64(3),
        np.bool_(True),
        np.str_("a"),
        np.dtype(">f4"),
        {np.int64(1): [np.datetime64("2020-01-01")]},
        Path("results") / "run",
        PureWindowsPath("c:/results"),
    ],
    ids=lambda data: type(data).__name__,
)
def test_options_and_scores_beside_the_tensors_are_left_aside(data, zipped, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": TENSORS, "best": data}, path, _use_new_zipfile_serialization=zipped)
    torch.testing.assert_close(read(path), TENSORS, rtol=0, atol=0)


@pytest.mark.parametrize("core", ["core", "_core"])
def test_scores_of_every_numpy_are_left_aside_without_running_numpys_code(core, tmp_path):
    # As a pickle may have it: a pointer's bytes for an object's type would be dereferenced.
    scalar = pickle.dumps(np.float64(3), protocol=2).removeprefix(b"\x80\x02").removesuffix(b".")
    scalar = scalar.replace(b"numpy._core", f"numpy.{core}".encode()).replace(b"f8", b"O8")
    torch.save({"model": TENSORS, "score": True}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "made.pth", "w") as made:
        for name in plain.namelist():
            content = plain.read(name)
            if name.endswith("data.pkl"):  # the score is the last thing in it, and the scalar's notes are its own
                content = content.replace(b"\x88", re.sub(rb"q.", b"", scalar))
            made.writestr(name, content)
    torch.testing.assert_close(read(tmp_path / "made.pth"), TENSORS, rtol=0, atol=0)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Counted(3), "checkpoint_files.Counted"),
        (np.zeros(3), "numpy._core.multiarray._reconstruct"),
        (Calls(eval, "1"), "eval"),
        (Calls(os.system, "true"), "posix.system"),
        ([np.float64(1), Path("a"), Calls(os.system, "true")], "posix.system"),
    ],
    ids=["class", "array", "eval", "system", "after data"],
)
def test_what_is_refused_is_named_and_no_risk_is_advised(content, named, zipped, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": TENSORS, "extra": content}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=f"never loaded: {named}; save the network's state_dict alone$") as raised:
        read(path)
    assert "weights_only" not in str(raised.value)


def test_data_stands_for_nothing_that_can_be_called(tmp_path):
    marker = tmp_path / "touched"
    torch.save({"model": TENSORS, "extra": Calls(type(Path()).touch, marker)}, tmp_path / "checkpoint.pth")
    with pytest.raises(DataError, match="never loaded"):
        read(tmp_path / "checkpoint.pth")
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_code_is_not_run(zipped, tmp_path):
    marker, path = tmp_path / "touched", tmp_path / "checkpoint.pth"
    torch.save({"model": TENSORS, "extra": Touch(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match="holds pickled code or objects, which are never loaded"):
        read(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Touch(marker)))
    assert marker.exists()  # so the file would have touched it


def test_pickled_code_in_numpy_arrays_is_not_run(tmp_path):
    marker, path = tmp_path / "touched", tmp_path / "checkpoint.npz"
    np.savez(path, weight=np.array([Touch(marker)], dtype=object))
    with pytest.raises(DataError, match="npz"):
        read(path)
    assert not marker.exists()


def test_a_torchscript_program_is_no_checkpoint_and_the_message_advises_no_risk(tmp_path):
    torch.save(TENSORS, tmp_path / "program.pt")
    with zipfile.ZipFile(tmp_path / "program.pt", "a") as archive:
        archive.writestr("program/constants.pkl", b"")  # by which torch knows it
    with pytest.raises(DataError, match=r"program\.pt .* a TorchScript program, which is code$"):
        read(tmp_path / "program.pt")


@KINDS
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.98])
def test_a_truncated_file_is_an_error_that_names_it(kind, kept, tmp_path):
    path = write(tmp_path, kind, {f"{name}/kernel": torch.randn(40, 40) for name in "abc"})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match="checkpoint_300"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a text file\n",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(100),
        b"\x83" + bytes(100),
        pickle.dumps([1, 2, 3], protocol=2),
        msgpack.packb({"params": {"a": 1}}),
        flax_bytes({"a": msgpack.ExtType(1, msgpack.packb(((3, 3), "float32", bytes(8))))}),
        flax_bytes({"a": msgpack.ExtType(1, msgpack.packb(((2,), "void", bytes(8))))}),
        flax_bytes({"a": msgpack.ExtType(1, msgpack.packb(((512, 1000), "float32", b"")))}),
        flax_bytes({"a": msgpack.ExtType(1, msgpack.packb(((), "float32", b"")))}),
        flax_bytes({"a": msgpack.ExtType(1, msgpack.packb(((-2, -1), "float32", bytes(8))))}),
        flax_bytes({"a": msgpack.ExtType(1, msgpack.packb(((True,), "float32", bytes(4))))}),
        flax_bytes({"a": msgpack.ExtType(1, msgpack.packb((2, "float32", bytes(8))))}),
        flax_bytes({"a": msgpack.ExtType(1, b"\xc1")}),
    ],
    ids=[
        "empty",
        "text",
        "png",
        "zeros",
        "msgpack of zeros",
        "pickle",
        "no arrays",
        "short array",
        "odd type",
        "array without content",
        "scalar without content",
        "negative array",
        "true array",
        "shapeless array",
        "odd array",
    ],
)
def test_a_foreign_or_damaged_file_is_an_error_that_names_it(content, tmp_path):
    (tmp_path / "foreign.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"foreign\.pth"):
        read(tmp_path / "foreign.pth")


def test_a_zip_archive_of_something_else_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(DataError, match=r"photos\.zip"):
        read(tmp_path / "photos.zip")


def test_a_model_saved_whole_and_a_single_tensor_are_no_checkpoints(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    torch.save(torch.zeros(2), tmp_path / "single.pth")
    with pytest.raises(DataError, match="never loaded"):
        read(tmp_path / "whole.pth")
    with pytest.raises(DataError, match="no named tensors"):
        read(tmp_path / "single.pth")


@pytest.mark.parametrize("name", ["missing.pth", "."])
def test_a_path_without_a_file_is_an_error(name, tmp_path):
    with pytest.raises(DataError, match="no checkpoint file"):
        read(tmp_path / name)


# No more than its size


def forged(path: Path, size: int) -> Path:
    """Return a zip archive that states another size of what it holds."""
    content = bytearray(path.read_bytes())
    for signature, field in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + field
        content[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    return path


def test_a_small_file_that_expands_to_a_large_one_is_refused_unread(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros(1 << 20))
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DataError, match=r"zeros.npz .* expand to 8388\d+, over 64 x as many; save it uncompressed$"):
        read(tmp_path / "zeros.npz")


def test_a_file_that_states_too_small_a_size_is_damaged(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros(1 << 20))
    with pytest.raises(DataError, match=r"zeros.npz is damaged"):
        read(forged(tmp_path / "zeros.npz", 5000))


def test_an_array_larger_than_its_file_is_damaged(tmp_path):
    np.savez(tmp_path / "short.npz", a=np.zeros(4))
    content = (tmp_path / "short.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(content.replace(b"(4,), }         ", b"(4000000000000,)"))
    with pytest.raises(DataError, match=r"short.npz is damaged"):
        read(tmp_path / "short.npz")


def test_a_file_of_pytorchs_that_was_compressed_is_refused_unread(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(DataError, match=r"small.pth .* expand to 419\d+, over 1 x as many"):
        read(tmp_path / "small.pth")


def zipped(folder: Path, value: float) -> bytes:
    folder.mkdir()
    torch.save({"a": torch.full((4,), value)}, folder / "checkpoint.pth")
    return (folder / "checkpoint.pth").read_bytes()


def test_of_two_archives_in_one_file_the_one_is_read_that_was_checked(tmp_path):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(zipped(tmp_path / "first", 1.0) + zipped(tmp_path / "second", 2.0))
    assert torch.load(path, weights_only=True)["a"].tolist() == [1.0] * 4  # where Python's zipfile finds the second
    if refused_by_zipfile(path):  # by Python 3.14's, which takes no file that begins with something else
        with pytest.raises(DataError, match="damaged"):
            read(path)
    else:
        assert read(path)["a"].tolist() == [2.0] * 4


def refused_by_zipfile(path):
    try:
        zipfile.ZipFile(path).close()
    except zipfile.BadZipFile:
        return True
    return False


@pytest.mark.parametrize("kind", ["pth", "npz"])
def test_bytes_behind_an_archive_change_nothing(kind, tmp_path):
    path = write(tmp_path, kind, TENSORS)
    path.write_bytes(path.read_bytes() + bytes(30))
    torch.testing.assert_close(read(path), TENSORS, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(1).expand(2**20, 2**20), "a has 1099511627776 elements but 1 values"),
        (torch.zeros(3, 3, device="meta"), "a is a tensor of layout torch.strided on meta"),
        (torch.zeros(3, 3).to_sparse(), "a is a tensor of layout torch.sparse_coo on cpu"),
    ],
    ids=["expanded", "meta", "sparse"],
)
def test_tensors_without_all_their_values_are_refused(tensor, said, zipped, tmp_path):
    torch.save({"a": tensor}, tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=said):
        read(tmp_path / "checkpoint.pth")


def test_views_of_one_tensor_are_read(tmp_path):
    whole = torch.randn(6, 4)
    views = {"tied": whole, "again": whole, "part": whole[2:, 1], "row": whole[:1].expand(1, -1), "turned": whole.T}
    torch.save(views, tmp_path / "checkpoint.pth")
    torch.testing.assert_close(read(tmp_path / "checkpoint.pth"), views, rtol=0, atol=0)


def within_itself(key: str) -> dict:
    tree = {"a": torch.zeros(1)}
    tree[key] = tree
    return tree


def nested(depth: int, *keys: str) -> dict:
    tree = {"a": torch.zeros(1)}
    for _ in range(depth):
        tree = dict.fromkeys(keys, tree)
    return tree


@pytest.mark.parametrize(
    "content",
    [
        within_itself("state_dict"),
        within_itself("again"),
        within_itself(""),
        nested(24, "a", "b"),
        nested(200, "a"),
        nested(200, "model"),
        nested(20, "a" * 100),
    ],
    ids=["wrapped in itself", "within itself", "unnamed in itself", "many", "deep", "wrapped", "long"],
)
def test_a_tree_that_no_network_has_is_an_error_and_not_an_endless_one(content, tmp_path):
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.raises(
        DataError, match=r"checkpoint\.pth is damaged.*: (entries within|objects within|more than|tensors wrapped)"
    ):
        read(tmp_path / "checkpoint.pth")


@pytest.mark.parametrize("depth", [200, 1020, 5000])
def test_msgpack_deeper_than_any_network_is_an_error(depth, tmp_path):
    (tmp_path / "deep").write_bytes(b"\x81\xa1a" * depth + b"\xc0")
    with pytest.raises(DataError, match="deep is damaged"):
        read(tmp_path / "deep")
