"""Weights of networks: what does not fit is named, by timm with the networks of plugins and by the harness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from checkpoint_files import TENSORS, Touch, write
from networks import SMALL, images, published_shapes, small
from torch import Tensor

from attnbench.errors import DataError
from attnbench.mechanisms.qna.flax_names import from_flax
from attnbench.models import checkpoint
from attnbench.models.tensors import check_fit

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


def test_integers_stay_integers_and_real_numbers_have_any_precision():
    wanted = {"weight": torch.zeros(2), "num_batches_tracked": torch.tensor(0), "mask": torch.zeros(2) > 0}
    check_fit(wanted | {"weight": torch.zeros(2, dtype=torch.bfloat16)}, wanted)
    check_fit(wanted | {"weight": torch.zeros(2, dtype=torch.float64)}, wanted)
    check_fit(wanted | {"num_batches_tracked": torch.tensor(0, dtype=torch.int32)}, wanted)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool, torch.int8])
def test_numbers_that_are_no_weights_are_named_with_both_types(dtype):
    network = small("hat_net_tiny")
    tensors = network.state_dict()
    tensors["ds2.conv.bias"] = torch.zeros(8, dtype=dtype)
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(DataError, match=rf"type \(1\):\n  ds2.conv.bias is {kind}, the network's float32$"):
        network.load_state_dict(tensors)


def test_entries_that_are_no_tensors_are_misfits():
    with pytest.raises(DataError) as raised:
        check_fit({"a": 3, "extra": None}, {"a": torch.zeros(1)})
    assert str(raised.value).splitlines()[1:] == [
        "not a tensor (1):",
        "  a is of type int",
        "unexpected (1):",
        "  extra of type NoneType",
    ]


def test_a_misfit_is_a_runtime_error_as_torchs_is():
    with pytest.raises(RuntimeError, match="does not fit"):
        small("hat_net_tiny").load_state_dict({})


BLOCK = "LSAStage_2/MSA_Block_1/MultiHeadSelfAttention_0"
TABLE = f"{BLOCK}/RelativePositionalEmbedding_0/rpe_bias"
LEARNED = "QnAStage_0/QnA_Block_1/FusedKQnA_0"


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        (TABLE, (7, 4), "7x4, expected the square of a side x columns"),
        (TABLE, (), "a scalar, expected the square of a side x columns"),
        (TABLE, (0, 4), "0x4, expected the square of a side x columns"),
        (f"{BLOCK}/to_qkv/kernel", (256, 100), "256x100, expected inputs x a multiple of 24"),
        (f"{BLOCK}/to_qkv/kernel", (256,), "256, expected inputs x a multiple of 24"),
        (f"{BLOCK}/to_out/kernel", (2, 2, 2), "2x2x2, expected inputs x outputs"),
        (f"{LEARNED}/Wk", (64,), "64, expected inputs x outputs"),
        (f"{LEARNED}/rpe_bias", (8, 16), "8x16, expected the square of a side x a multiple of 2"),
        (f"{LEARNED}/rpe_bias", (9, 15), "9x15, expected the square of a side x a multiple of 2"),
        (f"{LEARNED}/rpe_bias", (9,), "9, expected the square of a side x a multiple of 2"),
        (f"{LEARNED}/attn_scale_weights", (3, 1, 9, 16), "3x1x9x16, expected the square of a side"),
        (f"{LEARNED}/query", (), "a scalar, expected queries x channels"),
    ],
)
def test_a_flax_tensor_whose_layout_is_not_understood_is_named_with_what_was_expected(
    name, shape, said, authors_qna_vit
):
    with pytest.raises(DataError, match=f"^{name} of the checkpoint is {said}"):
        from_flax(authors_qna_vit | {name: torch.zeros(shape)})


def test_a_flax_entry_that_is_no_tensor_or_has_an_unknown_name_is_a_misfit(authors_qna_vit):
    network = timm.create_model("qna_vit_tiny")
    with pytest.raises(
        DataError, match=r"not a tensor \(1\):\n  stages.0.learned.0.attention.attention.key is of type int"
    ):
        network.load_state_dict(authors_qna_vit | {f"{LEARNED}/Wk": 3})
    with pytest.raises(DataError, match=f"{TABLE}, without which"):
        network.load_state_dict(authors_qna_vit | {TABLE: 3})
    with pytest.raises(DataError, match=r"unexpected \(1\):\n  stages.2.local.0.odd 1"):
        network.load_state_dict(authors_qna_vit | {"LSAStage_2/MSA_Block_1/odd": torch.zeros(1)})


# Networks


@pytest.mark.parametrize("suffix", [".pth", "", ".npz", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_code_is_not_run_by_timm_under_any_name(suffix, zipped, tmp_path):
    marker, path = tmp_path / "touched", tmp_path / f"checkpoint{suffix}"
    torch.save({"model": TENSORS, "extra": Touch(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(Exception, match=r"weights_only|never loaded|deserializing header"):
        timm.create_model("hat_net_tiny", **SMALL["hat_net_tiny"], checkpoint_path=str(path))
    assert not marker.exists()


def test_pickled_code_in_numpy_arrays_is_not_run_by_timm(tmp_path):
    marker, path = tmp_path / "touched", tmp_path / "checkpoint.npz"
    np.savez(path, weight=np.array([Touch(marker)], dtype=object))
    with pytest.raises(DataError, match="npz"):
        timm.create_model("hat_net_tiny", **SMALL["hat_net_tiny"], checkpoint_path=str(path))
    assert not marker.exists()


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
    digest, outputs = checkpoint.check(path, network=name, options=TIMMS[name] | {"num_classes": 3}, sizes=[(64, 64)])
    assert outputs == 3
    return digest


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


def test_weights_for_other_classes_are_refused_with_how_to_load_them(tmp_path):
    path = write(tmp_path, "pth", timms("resnet10t").state_dict() | {"fc.weight": torch.zeros(7, 512)})
    with pytest.raises(
        DataError, match=r"7x512, the network's 3x512\nfor weights of 7 classes, .* resnet10t:num_classes=7$"
    ):
        check(path, "resnet10t")


@each_of_timms
def test_a_tensor_of_another_shape_is_named_with_both_even_if_timm_fails_to_resample_it(name, tmp_path):
    altered, shape = ALTERED[name]
    path = write(tmp_path, "pth", timms(name).state_dict() | {altered: torch.zeros(4, 4)})
    with pytest.raises(DataError, match=rf"another shape \(1\):\n  {altered} is 4x4, the network's {shape}$"):
        check(path, name)


@each_of_timms
@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.complex64])
def test_numbers_that_are_no_weights_are_refused_though_torch_would_convert_them(name, dtype, tmp_path):
    altered, _ = ALTERED[name]
    tensors = timms(name).state_dict()
    path = write(tmp_path, "pth", tensors | {altered: tensors[altered].to(dtype)})
    with pytest.raises(DataError, match=rf"another type \(1\):\n  {altered} is {str(dtype).removeprefix('torch.')}, "):
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
