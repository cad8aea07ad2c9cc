"""Checkpoint files: every kind is read to the same tensors, code is never run, and what does not fit is named.

By the reader alone, by timm with the networks of plugins, and by the harness with timm's own.
"""

from __future__ import annotations

import pickle
import zipfile
from argparse import Namespace
from pathlib import Path

import msgpack
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from golden_recipe import GOLDEN
from networks import SMALL, images, published_shapes, small
from torch import Tensor

from attnbench import checkpoint
from attnbench.errors import DataError
from attnbench.tensors import check_fit, read
from mechanisms.qna.flax_names import from_flax

TENSORS = {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(3), "steps": torch.tensor(7)}


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def flax_bytes(tree) -> bytes:
    """Return a tree of tensors as Flax's ``to_bytes`` writes it."""

    def encode(tensor: Tensor) -> msgpack.ExtType:
        dtype = str(tensor.dtype).removeprefix("torch.")
        content = tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.view(1).view(torch.uint8)
        return msgpack.ExtType(1, msgpack.packb((tuple(tensor.shape), dtype, content.numpy().tobytes())))

    return msgpack.packb(tree, default=encode)


def nested(tensors: dict[str, Tensor]) -> dict:
    """Return tensors named a/b/c as a tree."""
    tree: dict = {}
    for name, tensor in tensors.items():
        *branches, last = name.split("/")
        branch = tree
        for key in branches:
            branch = branch.setdefault(key, {})
        branch[last] = tensor
    return tree


def write(folder: Path, kind: str, tensors: dict[str, Tensor]) -> Path:
    """Write a checkpoint of some kind under a name that does not tell the kind."""
    path = folder / "checkpoint_300"
    match kind:
        case "pth":
            torch.save(tensors, path)
        case "legacy pth":
            torch.save(tensors, path, _use_new_zipfile_serialization=False)
        case "safetensors":
            safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        case "npz":
            with path.open("wb") as file:
                np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
        case "flax":
            path.write_bytes(flax_bytes({"step": 3, "params": nested(tensors), "opt_state": {"0": {}}}))
    return path


KINDS = pytest.mark.parametrize("kind", ["pth", "legacy pth", "safetensors", "npz", "flax"])


@KINDS
def test_every_kind_of_file_is_read_to_the_same_tensors(kind, tmp_path):
    found = read(write(tmp_path, kind, TENSORS))
    torch.testing.assert_close(found, TENSORS, rtol=0, atol=0)


def test_a_file_that_flax_wrote_is_read_to_the_numbers_that_flax_had():
    found = read(GOLDEN / "flax_checkpoint_0")
    with np.load(GOLDEN / "flax_checkpoint_0.npz") as expected:
        assert set(found) == set(expected.files)
        assert all(np.array_equal(found[name].float().numpy(), expected[name]) for name in expected.files)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize(
    "content",
    [
        {"model": TENSORS, "epoch": 3, "args": Namespace(lr=0.1)},
        {"state_dict": TENSORS, "optimizer": {"state": {0: {"momentum": torch.zeros(3)}}}},
        {"model": {"state_dict": TENSORS}},
        {"module": TENSORS, "ds_version": "0.9"},
        {f"module.{name}": tensor for name, tensor in TENSORS.items()},
        {"state_dict": {f"_orig_mod.{name}": tensor for name, tensor in TENSORS.items()}},
        {"model": {name: torch.zeros_like(tensor) for name, tensor in TENSORS.items()}, "model_ema": TENSORS},
    ],
    ids=["model", "state_dict", "both", "sharded", "parallel", "compiled", "averaged"],
)
def test_what_training_scripts_wrap_around_the_tensors_is_taken_off(content, tmp_path):
    torch.save(content, tmp_path / "checkpoint.pth")
    torch.testing.assert_close(read(tmp_path / "checkpoint.pth"), TENSORS, rtol=0, atol=0)


def test_flax_arrays_may_be_empty_or_scalars_with_a_type(tmp_path):
    scalar = msgpack.ExtType(3, msgpack.packb(((), "int32", np.int32(5).tobytes())))
    path = tmp_path / "flax"
    path.write_bytes(flax_bytes({"empty": torch.empty(0, 4), "scalar": scalar}))
    found = read(path)
    assert found["empty"].shape == (0, 4)
    assert found["scalar"] == 5


# Nothing but data


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_code_is_not_run(zipped, tmp_path):
    marker, path = tmp_path / "touched", tmp_path / "checkpoint.pth"
    torch.save({"model": TENSORS, "extra": Touch(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match="holds pickled code or objects, which are never loaded"):
        read(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Touch(marker)))
    assert marker.exists()  # so the file would have touched it


@pytest.mark.parametrize("suffix", [".pth", "", ".npz", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_code_is_not_run_by_timm_under_any_name(suffix, zipped, tmp_path):
    marker, path = tmp_path / "touched", tmp_path / f"checkpoint{suffix}"
    torch.save({"model": TENSORS, "extra": Touch(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(Exception, match=r"weights_only|never loaded|deserializing header"):
        timm.create_model("hat_net_tiny", **SMALL["hat_net_tiny"], checkpoint_path=str(path))
    assert not marker.exists()


def test_pickled_code_in_numpy_arrays_is_not_run(tmp_path):
    marker, path = tmp_path / "touched", tmp_path / "checkpoint.npz"
    np.savez(path, weight=np.array([Touch(marker)], dtype=object))
    with pytest.raises(DataError, match="npz"):
        read(path)
    with pytest.raises(DataError, match="npz"):
        timm.create_model("hat_net_tiny", **SMALL["hat_net_tiny"], checkpoint_path=str(path))
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


# What fits


def test_every_misfit_is_named_with_its_shape_and_nothing_is_loaded():
    network = small("hat_net_tiny")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    del tensors["ds2.conv.bias"]
    tensors["classifier.1.weight"] = torch.zeros(1000, 16)
    tensors["extra"] = torch.zeros(())
    with pytest.raises(DataError) as raised:
        network.load_state_dict(tensors)
    lines = str(raised.value).splitlines()
    assert lines[1:] == [
        "of another shape (1):",
        "  classifier.1.weight is 1000x16, the network's 5x16",
        "missing (1):",
        "  ds2.conv.bias 8",
        "unexpected (1):",
        "  extra a scalar",
    ]
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)


def test_a_long_list_of_misfits_is_cut_short():
    with pytest.raises(DataError, match=r"missing \(30\):(\n  t\d+ 1){12}\n  and 18 more$"):
        check_fit({}, {f"t{index}": torch.zeros(1) for index in range(30)})


def test_a_loose_fit_allows_missing_and_unexpected_tensors_but_no_other_shape():
    check_fit({"a": torch.zeros(1)}, {"b": torch.zeros(1)}, strict=False)
    with pytest.raises(DataError, match="a is 1, the network's 2"):
        check_fit({"a": torch.zeros(1)}, {"a": torch.zeros(2)}, strict=False)


def test_a_flax_checkpoint_that_lacks_what_tells_a_layout_says_so():
    network = small("qna_vit_tiny")
    name = "LSAStage_2/MSA_Block_1/MultiHeadSelfAttention_0/to_qkv/kernel"
    with pytest.raises(DataError, match=f"{name} but not .*rpe_bias"):
        network.load_state_dict({name: torch.zeros(16, 48)})


# Networks


def same(network: torch.nn.Module, expected: dict[str, Tensor]) -> None:
    torch.testing.assert_close(dict(network.state_dict()), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_timm_loads_an_authors_hat_net_from_a_path(kind, tmp_path):
    tensors = dict(small("hat_net_tiny").state_dict())
    path = write(tmp_path, kind, tensors).rename(tmp_path / f"weights.{kind}")
    same(timm.create_model("hat_net_tiny", **SMALL["hat_net_tiny"], num_classes=5, checkpoint_path=str(path)), tensors)


@pytest.fixture(scope="module")
def authors_qna_vit() -> dict[str, Tensor]:
    """Tensors under the names and in the shapes of the authors' Flax checkpoint."""
    generator = torch.Generator().manual_seed(0)
    shapes = published_shapes("qna_vit_tiny")
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("suffix", ["npz", "pth", "safetensors"])
def test_timm_loads_an_authors_qna_vit_from_a_path(suffix, authors_qna_vit, tmp_path):
    path = write(tmp_path, suffix, authors_qna_vit).rename(tmp_path / f"weights.{suffix}")
    network = timm.create_model("qna_vit_tiny", checkpoint_path=str(path))
    same(network, from_flax(authors_qna_vit))


def test_timm_loads_a_flax_checkpoint_from_a_path_that_ends_in_npz(authors_qna_vit, tmp_path):
    path, named = write(tmp_path, "flax", authors_qna_vit), tmp_path / "linked.npz"
    named.symlink_to(path)
    same(timm.create_model("qna_vit_tiny", checkpoint_path=str(named)), from_flax(authors_qna_vit))
    with pytest.raises(RuntimeError, match="weights_only"):  # once timm reads it, the advice to link can go
        timm.create_model("qna_vit_tiny", **SMALL["qna_vit_tiny"], checkpoint_path=str(path))


@pytest.mark.parametrize("suffix", ["npz", "pth", "safetensors"])
def test_timm_says_which_tensors_of_a_path_do_not_fit_with_both_shapes(suffix, authors_qna_vit, tmp_path):
    path = write(tmp_path, suffix, authors_qna_vit).rename(tmp_path / f"weights.{suffix}")
    with pytest.raises(DataError, match=r"\n  head.weight is 1000x512, the network's 5x512\n"):
        timm.create_model("qna_vit_tiny", num_classes=5, checkpoint_path=str(path))


def test_timm_loads_a_flax_checkpoint_as_a_custom_one(authors_qna_vit, tmp_path):
    path = write(tmp_path, "flax", authors_qna_vit)
    overlay = {"file": str(path), "custom_load": True}
    network = timm.create_model("qna_vit_tiny", pretrained=True, pretrained_cfg_overlay=overlay)
    same(network, from_flax(authors_qna_vit))


def test_timm_gives_a_pretrained_network_a_new_classifier_and_other_channels(tmp_path):
    tensors = dict(small("hat_net_tiny", num_classes=1000).state_dict())
    path = write(tmp_path, "pth", tensors)
    network = timm.create_model(
        "hat_net_tiny",
        **SMALL["hat_net_tiny"],
        num_classes=3,
        in_chans=1,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path)},
    )
    torch.testing.assert_close(network.patch_embed[0].weight, tensors["patch_embed.0.weight"].sum(1, keepdim=True))
    torch.testing.assert_close(network.ds4.conv.weight, tensors["ds4.conv.weight"])
    assert network(images(channels=1)).shape == (2, 3)


def test_features_can_be_pretrained(tmp_path):
    tensors = dict(small("hat_net_tiny", num_classes=1000).state_dict())
    overlay = {"file": str(write(tmp_path, "pth", tensors))}
    options = SMALL["hat_net_tiny"] | {"features_only": True, "out_indices": (1,)}
    features = timm.create_model("hat_net_tiny", pretrained=True, pretrained_cfg_overlay=overlay, **options)
    torch.testing.assert_close(features.model.ds2.conv.weight, tensors["ds2.conv.weight"])


def test_a_network_loads_any_kind_of_file_by_itself(tmp_path):
    tensors = dict(small("hat_net_tiny").state_dict())
    network = timm.create_model("hat_net_tiny", **SMALL["hat_net_tiny"], num_classes=5)
    network.load_pretrained(write(tmp_path, "legacy pth", tensors))
    same(network, tensors)


# Networks of timm's own, as the harness loads them before anything runs

TIMMS = {
    "resnet10t": {},
    "swin_tiny_patch4_window7_224": {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)},
    "deit_tiny_patch16_224": {"embed_dim": 12, "depth": 1, "num_heads": 1},
}
ALTERED = {
    "resnet10t": ("fc.weight", "3x512"),
    "swin_tiny_patch4_window7_224": ("layers.0.blocks.0.attn.relative_position_bias_table", "169x1"),
    "deit_tiny_patch16_224": ("pos_embed", "1x17x12"),
}
"""A tensor of each that timm tries to resample, if it does that at all, and its shape."""
each_of_timms = pytest.mark.parametrize("name", TIMMS)


def timms(name: str) -> torch.nn.Module:
    options = TIMMS[name] | ({} if name == "resnet10t" else {"img_size": 64})
    return timm.create_model(name, num_classes=3, **options)


def check(path: Path, name: str) -> str:
    return checkpoint.check(path, network=name, options=TIMMS[name] | {"num_classes": 3}, sizes=[(64, 64)], classes=3)


@pytest.mark.parametrize("kind", ["pth", "safetensors", "npz"])
@each_of_timms
def test_a_network_of_timms_is_given_every_tensor_that_fits(name, kind, tmp_path):
    given, fresh = timms(name), timms(name)
    path = write(tmp_path, kind, dict(given.state_dict()))
    assert len(check(path, name)) == 12
    checkpoint.load(path, fresh, network=name)
    same(fresh, dict(given.state_dict()))


def test_a_checkpoint_from_before_batch_norms_counted_batches_fits(tmp_path):
    tensors = {name: tensor for name, tensor in timms("resnet10t").state_dict().items() if "num_batches" not in name}
    assert check(write(tmp_path, "pth", tensors), "resnet10t")


@each_of_timms
def test_a_foreign_checkpoint_is_refused_with_what_is_missing_and_unexpected(name, tmp_path):
    with pytest.raises(DataError) as raised:
        check(write(tmp_path, "pth", TENSORS), name)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"{tmp_path / 'checkpoint_300'}: the checkpoint does not fit the network"
    assert lines[1] == f"missing ({len(timms(name).state_dict())}):"
    assert lines[-4:] == ["unexpected (3):", "  a.weight 3x2", "  a.bias 3", "  steps a scalar"]


@each_of_timms
def test_a_tensor_of_another_shape_is_named_with_both_even_if_timm_fails_to_resample_it(name, tmp_path):
    altered, shape = ALTERED[name]
    path = write(tmp_path, "pth", timms(name).state_dict() | {altered: torch.zeros(4, 4)})
    with pytest.raises(DataError, match=rf"another shape \(1\):\n  {altered} is 4x4, the network's {shape}$"):
        check(path, name)


@each_of_timms
def test_a_truncated_or_malicious_checkpoint_of_timms_is_named_and_not_run(name, tmp_path):
    path, marker = write(tmp_path, "pth", dict(timms(name).state_dict())), tmp_path / "touched"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="checkpoint_300 is damaged"):
        check(path, name)
    torch.save(timms(name).state_dict() | {"extra": Touch(marker)}, path)
    with pytest.raises(DataError, match="checkpoint_300 is damaged, or holds pickled code or objects"):
        check(path, name)
    assert not marker.exists()
