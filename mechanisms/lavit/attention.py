"""Less attention: LaViT's layers, which transform attention scores instead of computing them anew."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench import auxiliary
from attnbench.mechanism import Macs, Map, Mechanism, Site
from attnbench.mechanisms.lavit.loss import contributed
from attnbench.mechanisms.lavit.plan import Auto, Backend, Plan, Switch
from attnbench.mechanisms.lavit.residual import StageResidual
from attnbench.models.patches import PatchReduction

Tokens: TypeAlias = Float[Tensor, "batch queries dim"]
Reduced: TypeAlias = Float[Tensor, "batch keys dim"]
Attended: TypeAlias = Float[Tensor, "batch heads queries head_dim"]
Value: TypeAlias = Float[Tensor, "batch heads keys head_dim"]
Scores: TypeAlias = Float[Tensor, "batch heads queries keys"]
Handed: TypeAlias = Float[Tensor, "batch old_heads old_queries old_keys"] | None


class LessAttention(Mechanism):
    """Scores computed at the start of a stage, then mixed over the tokens from layer to layer (LaViT).

    Paper: Zhang, Liu, Lin, He, "You Only Need Less Attention Each Stage in Vision Transformers", CVPR 2024,
    https://arxiv.org/abs/2406.00427. No official code is public: this is a reimplementation from the formulas, with no
    pretrained weights and no layer of the authors' to agree with.

    Legend: H x W tokens, n_q = H W queries, r the key reduction, n_k = ceil(H / r) ceil(W / r) keys, C channels, h
    heads, d = C / h. A_l are the scores of layer l before the softmax, (h, n_q, n_k).

        VA:  A_l = Q K^T / sqrt d  [+ Conv1x1(Norm(DWConv(A_last))) in the first layer of a later stage]
        LA:  A_l = Psi(Theta(A_{l-1})^T)^T = W_psi A_{l-1} W_theta^T
        both:  z = softmax(A_l) V;  out = z Wo

    A stage has vanilla-attention (VA) layers, then less-attention (LA) layers, in which only V and Wo come from the
    map. A_last are the last scores of the stage before.

    Cost per image: VA 2 (n_q + n_k) C^2 MACs of projections and 2 n_q n_k C of attention products; LA half of each and
    h (n_q n_k^2 + n_q^2 n_k) of token mixing; either n_k (r C)^2 of key reduction if r > 1. A residual that merges p
    scores of h' heads into one costs h' n_q n_k (p + h). An LA layer holds n_q^2 + n_k^2 weights, which bind it to one
    number of tokens, and on large maps Psi outweighs everything else. Scores are h n_q n_k elements; ``sdpa`` holds
    them only in layers whose scores are handed on.

    Differs from the paper, or settles what it leaves open:
        - VA is every layer of a first stage whose tokens are at most 4 pixels wide, and elsewhere the first one (option
          ``vanilla``).
        - Keys and values come from the map reduced as in PVT (arXiv:2102.12122), by an r x r convolution of stride r
          and a LayerNorm, in LA layers too: the published FLOPs cannot be reached with full keys. r is 8, 4, 2, 1 at
          strides 4, 8, 16, 32, and less where that would leave under four keys a side (option ``key_reduction``). A
          normed map that does not divide by r is padded with zeros below and to the right.
        - Psi and Theta have no bias, are shared by the heads and start as the identity: an untrained LA layer reuses
          the scores exactly.
        - The residual's strides, norm and treatment of odd sides are chosen in ``residual.py``. It starts at zero, so
          that an untrained stage starts from scores of its own.
        - LayerNorm comes first, Q, K, V and Wo have biases, there is no position bias and no dropout.
        - An LA layer that is handed nothing starts from scores of zero, so that every key weighs the same; the first
          layer of a stage that is handed nothing adds no residual.
        - The diagonality-preserving loss is of the softmax's weights, where it has a bound, with the sign turned that
          the paper prints (``loss.py``), and takes part where ``--accuracy`` trains the layer (option ``dp_loss``).
          Layers whose keys are reduced have no diagonal and no such loss.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.lavit import LessAttention
        >>> layer = LessAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> LessAttention.macs(layer.site)
        Macs(projections=2007040, attention=1229312, other=802816)
    """

    paper = "Zhang et al., CVPR 2024, arXiv:2406.00427"
    undecayed = ("theta.weight", "psi.weight")
    added = MappingProxyType({"dp_loss": "on"})

    def __init__(
        self,
        site: Site,
        *,
        vanilla: int | Auto = "auto",
        key_reduction: int | Auto = "auto",
        backend: Backend = "sdpa",
        dp_loss: Switch | float = "on",
    ) -> None:
        """Build the layer, VA or LA by its place in the stage.

        Args:
            site: where the layer stands; the map may have any size.
            vanilla: layers at the start of the stage that compute scores of their own.
            key_reduction: tokens along a side that one key stands for.
            backend: ``sdpa`` for torch's fused attention where no other layer needs the scores, ``unfused`` for none;
                same output.
            dp_loss: whether the diagonality-preserving loss takes part in a training that hears it, or its coefficient.

        Raises:
            ValueError: an option has a value that no site could take.
        """
        super().__init__(site)
        plan = Plan.of(site, vanilla=vanilla, key_reduction=key_reduction, backend=backend, dp_loss=dp_loss)
        self.dp_coefficient = plan.dp_coefficient / site.depth if plan.square else 0.0
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.reduce: nn.Module = nn.Flatten(1, 2)
        if plan.reduction > 1:
            self.reduce = PatchReduction(site.dim, plan.reduction, eps=1e-6)
        self.value = _projection(site.dim)
        self.attend = Reused(plan) if plan.reuses else Vanilla(plan)
        self.project = _projection(site.dim)

    def forward(self, x: Map) -> Map:
        """Return the attended map of a layer that is handed no scores, (B, H, W, C)."""
        return self.step(x, None)[0]

    def step(self, x: Map, carry: Handed) -> tuple[Map, Scores | None]:
        """Return the attended map and the scores before the softmax, None if no later layer needs them."""
        x = self.norm(x)
        reduced = self.reduce(x)
        value = _split(self.value(reduced), self.site.heads)
        heard = self.dp_coefficient > 0 and auxiliary.is_heard()
        if isinstance(self.attend, Vanilla):
            y, scores = self.attend(x.flatten(1, 2), reduced, value, carry, keep=heard)
        else:
            y, scores = self.attend(value, carry)
        if heard:
            auxiliary.contribute(contributed(scores, self.dp_coefficient))
        attended: Map = self.project(y.transpose(1, 2).reshape(x.shape))
        return attended, scores

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say why the layer cannot be built at a site, or None if it can.

        Raises:
            ValueError: an option has a value that no site could take.
        """
        Plan.of(site, **options)
        return super().why_unsupported(site)

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs:  # noqa: ANN401
        """Return the closed form of the layer's multiply-adds for one image, the stage's residual included."""
        return Plan.of(site, **options).macs

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401
        """Say where key reduction departs from PVT's, and what is padded."""
        return Plan.of(site, **options).adaptation


class Vanilla(nn.Module):
    """Scores from queries and keys (VA)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        dim = plan.site.dim
        self.heads = plan.site.heads
        self.fused = plan.fused
        self.query = _projection(dim)
        self.key = _projection(dim)
        self.residual = StageResidual(plan.before, plan) if plan.before else None

    def forward(
        self, x: Tokens, reduced: Reduced, value: Value, carry: Handed, *, keep: bool = False
    ) -> tuple[Attended, Scores | None]:
        """Return (B, h, n_q, d) and the scores (B, h, n_q, n_k), None where they are fused away and not to be kept."""
        query, key = _split(self.query(x), self.heads), _split(self.key(reduced), self.heads)
        residual = self.residual(carry) if self.residual is not None and carry is not None else None
        if self.fused and not keep:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=residual), None
        # The smaller factor is scaled, and before the product: half precision has little room above it.
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        if residual is not None:
            scores = scores + residual
        return scores.softmax(-1) @ value, scores


class Reused(nn.Module):
    """Scores from the layer before, mixed over keys and then over queries (LA)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.shape = plan.site.heads, plan.site.tokens, plan.keys
        self.theta = nn.Linear(plan.keys, plan.keys, bias=False)
        self.psi = nn.Linear(plan.site.tokens, plan.site.tokens, bias=False)
        nn.init.eye_(self.theta.weight)
        nn.init.eye_(self.psi.weight)

    def forward(self, value: Value, carry: Handed) -> tuple[Attended, Scores]:
        """Return (B, h, n_q, d) and the transformed scores (B, h, n_q, n_k)."""
        if carry is None:
            carry = value.new_zeros(len(value), *self.shape)
        # In memory queries come first from here to the end of the stage: neither product then has to copy the scores.
        mixed = self.theta(carry.movedim(2, 0))
        mixed = (self.psi.weight @ mixed.flatten(1)).view_as(mixed)
        return mixed.softmax(-1).movedim(0, 2) @ value, mixed.movedim(0, 2)


def _projection(dim: int) -> nn.Linear:
    linear = nn.Linear(dim, dim)
    nn.init.trunc_normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return linear


def _split(x: Float[Tensor, "batch tokens dim"], heads: int) -> Float[Tensor, "batch heads tokens head_dim"]:
    batch, tokens, dim = x.shape
    return x.view(batch, tokens, heads, dim // heads).transpose(1, 2)
