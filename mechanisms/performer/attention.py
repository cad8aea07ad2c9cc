"""Softmax attention estimated by positive orthogonal random features (FAVOR+), as in Performer."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.mechanism import Macs, Map, Mechanism, Site

Count: TypeAlias = int | Literal["auto"]
Queries: TypeAlias = Float[Tensor, "batch heads queries head_dim"]
Keys: TypeAlias = Float[Tensor, "batch heads keys head_dim"]
Features: TypeAlias = Float[Tensor, "features head_dim"]


class PerformerAttention(Mechanism):
    """Softmax attention estimated by positive orthogonal random features (Performer).

    Paper: Choromanski et al., "Rethinking Attention with Performers", ICLR 2021, https://arxiv.org/abs/2009.14794.

    Legend: N = H W tokens, C channels, h heads, d = C / h, m random features w_r, queries q_i and keys k_j divided by
    d^(1/4).

        y = LayerNorm(x);  Q, K, V = y Wq, y Wk, y Wv;  phi_r(x) = exp(w_r x - |x|^2 / 2) / sqrt m
        z_i = [ sum_j (phi(q_i) phi(k_j)) v_j ] / [ sum_j phi(q_i) phi(k_j) ];  out = z Wo

    phi(q) phi(k) is exp(q k) in expectation, with a relative variance of at most (exp |q + k|^2 - 1) / m: large scores
    are estimated badly. |q_i|^2 and m cancel, and what is left is a softmax over the tokens for each feature and one
    over the features for each query:

        b_rj = w_r k_j - |k_j|^2 / 2;   u_r = sum_j softmax_j(b_r) v_j;   c_r = log sum_j exp b_rj
        z_i = sum_r softmax_r(w q_i + c) u_r

    This is how it is computed. The largest term of every sum is exp 0 = 1, so that nothing overflows, no denominator is
    near 0, and what underflows is nothing beside 1. z_i is the quotient above for any scores, and a mean of values.

    Cost per image: 4 N C^2 MACs of projections and 4 N m C of attention products: w K, w Q and the two sums. Both
    softmaxes have h N m elements; nothing is N^2.

    Differs from the paper, or settles what it leaves open:
        - The authors subtract one maximum per query, and one per head for all keys and features, and then add 1e-6 to
          every phi: a key far below the largest gets weight that it has not. The two softmaxes need no such term.
        - Features are drawn once, when the layer is built, and not redrawn in training. They are a buffer, shared by
          the heads. Their generator is their own, seeded by torch's seed and the layer's place in the network, so that
          how many there are does not change how the weights are drawn.
        - Blocks of d features are orthogonal, with the lengths of Gaussian vectors. Directions are uniform, which takes
          the signs of R's diagonal in Q R = Gaussian; the authors' are the Q of the library, whose vectors lie on one
          side each, and whose estimate is biased.
        - m is d log d by default, rounded down, the order that the paper's bound asks for (266 for d = 64; the authors'
          code has 256).
        - Half precision forms exponentials, sums of them and |k|^2 in float32, products in half precision.
        - There is no class token and no dropout. The paper's generalised kernels (ReLU) are not offered.

    Example:
        >>> import torch
        >>> from attnbench import Site
        >>> from attnbench.mechanisms.performer import PerformerAttention
        >>> layer = PerformerAttention(Site(height=14, width=14, dim=64, heads=2))
        >>> layer(torch.zeros(1, 14, 14, 64)).shape
        torch.Size([1, 14, 14, 64])
        >>> PerformerAttention.macs(layer.site)
        Macs(projections=3211264, attention=5519360, other=0)
    """

    paper = "Choromanski et al., ICLR 2021, arXiv:2009.14794"
    reach = "global"

    features: Tensor

    def __init__(self, site: Site, *, features: Count = "auto") -> None:
        """Build the layer, its weights initialised as the baseline's are.

        Args:
            site: where the layer stands; the map may have any size.
            features: m, random features for each head, ``auto`` for d log d.

        Raises:
            ValueError: there is no feature.
        """
        super().__init__(site)
        self.norm = nn.LayerNorm(site.dim, eps=1e-6)
        self.qkv = nn.Linear(site.dim, 3 * site.dim)
        self.proj = nn.Linear(site.dim, site.dim)
        for linear in (self.qkv, self.proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        drawn = orthogonal_features(feature_count(site, features), site.head_dim, seed=seed_of(site))
        # Dividing w by d^(1/4) divides queries and keys by it.
        scaled = (drawn * site.head_dim**-0.25).to(self.qkv.weight)
        self.register_buffer("features", scaled)

    def forward(self, x: Map) -> Map:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual."""
        qkv = self.qkv(self.norm(x)).view(x.shape[0], -1, 3, self.site.heads, self.site.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        attended: Map = self.proj(estimated_attention(q, k, v, self.features).transpose(1, 2).reshape(x.shape))
        return attended

    @classmethod
    def why_unsupported(cls, site: Site, *, features: Count = "auto", **options: Any) -> str | None:  # noqa: ANN401
        """Say that the channels do not divide into the heads, or None.

        Raises:
            ValueError: there is no feature.
        """
        feature_count(site, features)
        return super().why_unsupported(site, **options)

    @classmethod
    def macs(cls, site: Site, *, features: Count = "auto", **options: Any) -> Macs:  # noqa: ANN401, ARG003
        """Return 4 N C^2 + 4 N m C."""
        count = feature_count(site, features)
        return Macs(projections=4 * site.tokens * site.dim**2, attention=4 * site.tokens * count * site.dim)


def estimated_attention(q: Queries, k: Keys, v: Keys, features: Features) -> Queries:
    """Return the estimate of softmax(Q K^T / sqrt d) V by features that are divided by d^(1/4)."""
    wide = torch.promote_types(q.dtype, torch.float32)
    lengths = k.to(wide).square().sum(-1) * (0.5 * k.shape[-1] ** -0.5)
    scores = (features @ k.mT).to(wide) - lengths[..., None, :]
    # What is subtracted cancels, also from the gradient.
    largest = scores.detach().amax(-1, keepdim=True)
    weights = (scores - largest).exp()
    total = weights.sum(-1, keepdim=True)
    # Sums of N values may be beyond float16, unlike those of values divided by sqrt N.
    root = k.shape[-2] ** 0.5
    means = (weights.to(v.dtype) @ (v / root)).to(wide) * (root / total)
    over_features = ((q @ features.mT).to(wide) + (largest + total.log()).mT).softmax(-1)
    attended: Queries = over_features.to(v.dtype) @ means.to(v.dtype)
    return attended


def orthogonal_features(count: int, width: int, *, seed: int) -> Features:
    """Return Gaussian vectors in float64, on the CPU, of which every ``width`` from the first on are orthogonal."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, -(-count // width), width, width)
    square, other = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    columns, triangle = torch.linalg.qr(square)
    uniform = columns * triangle.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    lengths = torch.linalg.vector_norm(other, dim=-1, keepdim=True)
    vectors: Features = (uniform.mT * lengths).flatten(0, 1)
    return vectors[:count]


def seed_of(site: Site) -> int:
    """Return a seed that depends on torch's own and differs between the layers of a network."""
    return (torch.initial_seed() + (site.stride << 16) + site.layer) % 2**63


def feature_count(site: Site, features: Count) -> int:
    """Return m.

    Raises:
        ValueError: there is no feature.
    """
    if features == "auto":
        return max(1, int(site.head_dim * math.log(max(1, site.head_dim))))
    if features < 1:
        raise ValueError(f"features must be at least 1 or auto, got {features}")
    return features
