"""Checkpoint files: every kind is read to the same tensors, without what training wraps around them."""

from __future__ import annotations

from argparse import Namespace

import msgpack
import numpy as np
import pytest
import torch
from checkpoint_files import TENSORS, flax_bytes, write
from golden_recipe import GOLDEN

from attnbench.models.tensors import read

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


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda tree: {"optimizer": {"target": tree, "state": {"step": 3}}, "model_state": {"batch_stats": tree}},
        lambda tree: {"optimizer": {"target": {"params": tree}, "state": {}}},
        lambda tree: {"target": tree, "state": {"param_states": tree}},
        lambda tree: {"step": 3, "params": tree, "opt_state": {"0": tree}, "model_state": {"batch_stats": tree}},
        lambda tree: {"params": {"params": tree}, "model_state": {}},
    ],
    ids=["flax.optim", "variables", "optimizer alone", "TrainState", "no statistics"],
)
def test_what_every_version_of_flax_wraps_around_the_tensors_is_taken_off(wrapped, tmp_path):
    tree = {"Dense_0": {"kernel": torch.randn(3, 2)}}
    (tmp_path / "flax").write_bytes(flax_bytes(wrapped(tree)))
    torch.testing.assert_close(read(tmp_path / "flax"), {"Dense_0/kernel": tree["Dense_0"]["kernel"]}, rtol=0, atol=0)


def test_the_optimizer_of_pytorch_is_no_wrapper(tmp_path):
    torch.save({"optimizer": {"state": {}, "param_groups": []}, "net": TENSORS}, tmp_path / "checkpoint.pth")
    assert set(read(tmp_path / "checkpoint.pth")) == {f"net/{name}" for name in TENSORS}


@pytest.mark.parametrize("dtype", [">f4", ">i8", ">f2"])
def test_numpy_arrays_may_be_of_another_byte_order(dtype, tmp_path):
    np.savez(tmp_path / "big.npz", a=np.arange(6, dtype=dtype).reshape(2, 3).T)
    assert read(tmp_path / "big.npz")["a"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_arrays_that_numpy_compressed_are_read(tmp_path):
    weights = torch.randn(100, 100) * (torch.rand(100, 100) < 0.1)
    np.savez_compressed(tmp_path / "sparse.npz", a=weights.numpy())
    assert torch.equal(read(tmp_path / "sparse.npz")["a"], weights)
