"""What timm's own networks offer, of the published networks."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
from networks import SMALL, images, small
from timm.layers import DropPath
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from torch import nn

from attnbench.models.tensors import read

FAMILIES = pytest.mark.parametrize("name", list(SMALL))


@FAMILIES
def test_images_of_odd_and_unequal_sides_are_classified(name):
    assert small(name)(images()).shape == (2, 5)


@FAMILIES
def test_images_in_a_batch_do_not_see_each_other(name):
    network, batch = small(name).double(), images().double()
    torch.testing.assert_close(network(batch)[:1], network(batch[:1]), rtol=1e-9, atol=1e-9)


@FAMILIES
def test_features_are_the_maps_that_their_description_promises(name):
    network = small(name, features_only=True)
    info = network.feature_info
    assert info.reduction() == [4, 8, 16, 32]
    sides = [(-(-70 // stride), -(-99 // stride)) for stride in info.reduction()]
    expected = [(2, dim, *side) for dim, side in zip(info.channels(), sides, strict=True)]
    assert [tuple(feature.shape) for feature in network(images())] == expected


@FAMILIES
def test_chosen_features_are_those_of_the_whole_network_and_need_no_later_stage(name):
    whole, chosen = small(name), small(name, features_only=True, out_indices=(0, -2))
    chosen.model.load_state_dict({key: whole.state_dict()[key] for key in chosen.model.state_dict()})
    _, maps = whole.forward_intermediates(images())
    for feature, expected in zip(chosen(images()), [maps[0], maps[2]], strict=True):
        torch.testing.assert_close(feature, expected)
    chosen(images())[-1].square().sum().backward()
    unused = [key for key, parameter in chosen.named_parameters() if parameter.grad is None and parameter.requires_grad]
    assert not unused
    assert chosen.feature_info.reduction() == [4, 16]


@FAMILIES
def test_intermediates_come_with_the_final_map_or_alone(name):
    network = small(name)
    final, maps = network.forward_intermediates(images(), indices=1, norm=True)
    torch.testing.assert_close(final, network.forward_features(images()))
    torch.testing.assert_close(maps[0], final)
    assert len(network.forward_intermediates(images(), indices=[0, 1], intermediates_only=True)) == 2
    with pytest.raises(ValueError, match="indices"):
        network.forward_intermediates(images(), indices=[4])


@FAMILIES
def test_head_and_features_make_up_the_network(name):
    network = small(name)
    features = network.forward_features(images())
    pooled = network.forward_head(features, pre_logits=True)
    torch.testing.assert_close(pooled, features.mean((2, 3)))
    torch.testing.assert_close(network.get_classifier()(pooled), network(images()))


@FAMILIES
def test_the_classifier_can_be_replaced_and_removed(name):
    network = small(name)
    network.reset_classifier(7)
    assert network(images()).shape == (2, 7)
    assert network.num_classes == network.get_classifier().out_features == 7
    network.reset_classifier(0)
    assert network(images()).shape == (2, network.num_features)
    network.reset_classifier(0, "")
    assert network(images()).shape == (2, network.num_features, 3, 4)
    with pytest.raises(ValueError, match="global_pool"):
        network.reset_classifier(0, "max")


@FAMILIES
def test_images_may_have_other_channels_than_three(name):
    assert small(name, in_chans=1)(images(channels=1)).shape == (2, 5)


@FAMILIES
def test_recomputing_the_blocks_keeps_less_for_the_same_gradients(name):
    gradients, kept = [], []
    for recompute in (False, True):
        network = small(name)
        network.set_grad_checkpointing(recompute)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x):
            logits = network(images())
        logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
        kept.append(sum(sizes))
    torch.testing.assert_close(*gradients)
    assert kept[1] < kept[0] / 2


@FAMILIES
def test_drop_path_rises_from_none_to_the_rate_and_acts_in_training_only(name):
    network = small(name, drop_path_rate=0.5)
    rates = [module.drop_prob for module in network.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx(torch.linspace(0, 0.5, len(rates)).tolist())
    used = set()
    for module in network.modules():
        if isinstance(module, DropPath):
            module.register_forward_hook(lambda module, *_: used.add(module))
    network(images())
    assert len(used) == len(rates)
    torch.testing.assert_close(network(images()), network(images()))
    assert not torch.equal(network.train()(images()), network(images()))


@FAMILIES
def test_dropout_before_the_classifier_acts_in_training_only(name):
    network = small(name, drop_rate=0.5, drop_path_rate=0.0)
    torch.testing.assert_close(network(images()), network(images()))
    assert not torch.equal(network.train()(images()), network(images()))


@FAMILIES
def test_timm_is_told_what_images_a_network_was_made_for(name):
    network = small(name)
    assert network.default_cfg["input_size"] == (3, 224, 224)
    assert network.default_cfg["mean"] == (0.485, 0.456, 0.406)
    assert network.default_cfg["std"] == (0.229, 0.224, 0.225)
    assert not network.default_cfg.get("url")
    assert isinstance(network.get_submodule(network.default_cfg["first_conv"]), nn.Conv2d)
    assert network.get_submodule(network.default_cfg["classifier"]) is network.get_classifier()


@FAMILIES
def test_there_are_no_weights_to_download(name):
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        small(name, pretrained=True)


@FAMILIES
def test_a_network_compiles_in_one_piece(name):
    network = small(name).double()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images().double()), network(images().double()))


@pytest.mark.parametrize("mechanism", ["hmhsa", "qna", "lavit"])
def test_importing_a_mechanism_leaves_timm_unimported(mechanism):
    code = f"import sys, mechanisms.{mechanism}; print('timm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@FAMILIES
def test_intermediates_stop_after_the_last_stage_asked_for(name):
    network = small(name)
    _, maps = network.forward_intermediates(images())
    final, (first,) = network.forward_intermediates(images(), indices=[0], stop_early=True)
    torch.testing.assert_close(final, maps[0])
    torch.testing.assert_close(first, maps[0])


@FAMILIES
def test_features_come_from_the_wrapper_that_runs_the_network_and_no_other(name):
    for wrapper in ("hook", "list", "dict", "fx"):
        with pytest.raises(ValueError, match=f"feature_cls must be 'getter' for {name}, got '{wrapper}'"):
            small(name, features_only=True, feature_cls=wrapper)
    assert len(small(name, features_only=True, feature_cls="getter")(images())) == 4


def layers(network: nn.Module, *, coarse: bool = False) -> dict[str, int]:
    return group_parameters(network, network.group_matcher(coarse), reverse=True)


@FAMILIES
def test_layers_for_falling_learning_rates_are_in_the_order_in_which_they_run(name):
    network = small(name)
    order = layers(network)
    assert set(order) == {key for key, _ in network.named_parameters()}
    assert set(order.values()) == set(range(max(order.values()) + 1))
    called: list[int] = []
    for key, module in network.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            layer = order[next(f"{key}.{own}" for own, _ in module.named_parameters(recurse=False))]
            module.register_forward_hook(lambda *_, layer=layer: called.append(layer))
    network(images())
    assert called == sorted(called)
    assert order[f"{network.default_cfg['classifier']}.weight"] == max(order.values())
    assert order[f"{network.default_cfg['first_conv']}.weight"] == 0


@FAMILIES
def test_coarse_layers_are_the_stages(name):
    stages = layers(small(name), coarse=True)
    depth = {key.split(".")[1]: layer for key, layer in stages.items() if key.startswith(("stages.", "blocks."))}
    assert list(depth.values()) == sorted(set(depth.values()))
    assert len(depth) == 4


def test_the_optimiser_leaves_alone_what_the_authors_left_alone():
    def undecayed(name: str) -> set[str]:
        network = small(name)
        groups = create_optimizer_v2(network, "adamw", weight_decay=0.05).param_groups
        names = {id(parameter): key for key, parameter in network.named_parameters()}
        return {
            names[id(one)] for group in groups if not group["weight_decay"] for one in group["params"] if one.ndim > 1
        }

    assert undecayed("hat_net_tiny") == set()
    assert {key.rpartition(".")[2] for key in undecayed("qna_vit_tiny")} == {"scale", "bias", "table"}
    ends = {key.rpartition(".attend.")[2] for key in undecayed("lavit_tiny") if not key.endswith(".position")}
    assert ends <= {"psi.weight", "theta.weight"}
    assert {f"stages.{index}.position" for index in range(4)} <= undecayed("lavit_tiny")


def test_weights_read_from_a_file_serve_other_classes_and_channels(tmp_path):
    given = small("qna_vit_tiny")
    torch.save(given.state_dict(), tmp_path / "weights.pth")
    source = {"state_dict": read(tmp_path / "weights.pth"), "num_classes": 5}
    tuned = timm.create_model(
        "qna_vit_tiny",
        **SMALL["qna_vit_tiny"],
        pretrained=True,
        pretrained_cfg_overlay=source,
        num_classes=7,
        in_chans=1,
    )
    torch.testing.assert_close(tuned.stem.weight, given.stem.weight.sum(1, keepdim=True))
    torch.testing.assert_close(tuned.norm.weight, given.norm.weight)
    assert tuned.head.weight.shape == (7, given.num_features)


def test_an_activation_may_be_replaced_and_watched():
    network, watched = small("qna_vit_tiny").double(), []
    network.stages[0].learned[0].mlp.act.register_forward_hook(lambda *_: watched.append(True))
    expected = network(images().double())
    with torch.no_grad():
        torch.testing.assert_close(network(images().double()), expected)
    assert watched == [True, True]
    network.stages[0].learned[0].mlp.act = nn.ReLU()
    with torch.no_grad():
        assert not torch.equal(network(images().double()), expected)
