"""Registers: handed on from layer to layer, and through the MLPs, as in a vision transformer of timm's."""

from functools import partial

import torch
from layer_checks import site_of
from timm.models.vision_transformer import Block
from torch import nn

from attnbench.mechanisms.registers import RegisterAttention
from attnbench.models.backbone import BackboneBlock, macs_around, sites
from attnbench.models.pyramid import SWIN_T_SIZED


def test_blocks_do_to_registers_and_map_what_timms_do_to_all_tokens():
    torch.manual_seed(0)
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = [Block(8, 2, qkv_bias=True, norm_layer=norm).double() for _ in range(2)]
    ours = []
    for layer, block in enumerate(theirs):
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.4)
        mechanism = RegisterAttention(site_of(3, 5, layer), registers=2).double()
        for name, source in {"norm": block.norm1, "qkv": block.attn.qkv, "proj": block.attn.proj}.items():
            mechanism.get_submodule(name).load_state_dict(source.state_dict())
        mine = BackboneBlock(mechanism, 8, 4).double()
        mine.mlp[0].eps = 1e-6
        for place, source in enumerate((block.norm2, block.mlp.fc1, None, block.mlp.fc2)):
            if source is not None:
                mine.mlp[place].load_state_dict(source.state_dict())
        ours.append(mine)
    x, carry = torch.randn(2, 3, 5, 8, dtype=torch.float64), None
    tokens = torch.cat([ours[0].mechanism.registers.expand(2, -1, -1), x.flatten(1, 2)], 1)
    for block, mine in zip(theirs, ours, strict=True):
        tokens, (x, carry) = block(tokens), mine(x, carry)
    torch.testing.assert_close(torch.cat([carry, x.flatten(1, 2)], 1), tokens, rtol=1e-11, atol=1e-11)


def test_only_the_first_layer_of_a_stage_has_registers():
    has = [RegisterAttention(site_of(2, 2, layer)).registers is not None for layer in range(3)]
    assert has == [True, False, False]


def test_each_mlp_of_a_network_takes_the_registers_as_well():
    stages = sites(SWIN_T_SIZED, 64, 64)
    plain, more = (
        macs_around(stages, mlp_tokens=count)
        for count in (lambda site: site.tokens, lambda site: RegisterAttention.mlp_tokens(site, registers=3))
    )
    assert more - plain == 3 * sum(8 * stage[0].dim ** 2 * len(stage) for stage in stages)
