"""The plain formulations of the published networks: what one would write first, from the paper or as the authors do.

A plain network takes its sizes from ours and has parameters of the same names. Maps have to divide into grids, pools
and windows, as those of 224 x 224 images do.
"""

from __future__ import annotations

from plain_hat_net import PlainHATNet
from plain_lavit import PlainLaViT
from plain_qna_vit import PlainQnAViT
from torch import nn

from attnbench.mechanisms.hmhsa.network import HATNet
from attnbench.mechanisms.lavit.network import LaViT
from attnbench.mechanisms.qna.network import QnAViT
from attnbench.models.network import PyramidNetwork

PLAIN = {HATNet: PlainHATNet, QnAViT: PlainQnAViT, LaViT: PlainLaViT}


def plain(network: PyramidNetwork) -> nn.Module:
    """Return the plain formulation of a network, with its parameters and in its mode."""
    formulation = PLAIN[type(network)](network)
    formulation.load_state_dict(network.state_dict())
    return formulation.train(network.training)
