"""Token merging."""

from __future__ import annotations

from dataclasses import replace
from itertools import starmap

import torch
from case import Case, Counted
from layer_checks import SITES, site_of
from places import BACKENDS, SMALL, across, at
from torch.nn.functional import cosine_similarity, layer_norm, linear

from attnbench.mechanism import Macs
from attnbench.mechanisms.tome import TokenMergingAttention

Token = tuple[list[int], torch.Tensor]
"""The places that a token stands for, and its value."""


def attended(layer, tokens: list[Token]) -> tuple[list[Token], torch.Tensor]:
    """The tokens of an image after attention in which each counts as often as it has places; and their mean keys."""
    sizes = torch.tensor([len(places) for places, _ in tokens], dtype=torch.float64)
    x = torch.stack([value for _, value in tokens])
    y = layer_norm(x, (layer.site.dim,), layer.norm.weight, layer.norm.bias, 1e-6)
    q, k, v = (each.chunk(layer.site.heads, -1) for each in linear(y, layer.qkv.weight, layer.qkv.bias).chunk(3, -1))
    heads = []
    for queries, keys, values in zip(q, k, v, strict=True):
        weights = sizes * torch.exp(queries @ keys.T / layer.site.head_dim**0.5)
        heads.append(weights / weights.sum(-1, keepdim=True) @ values)
    x = x + linear(torch.cat(heads, -1), layer.proj.weight, layer.proj.bias)
    return [(places, value) for (places, _), value in zip(tokens, x, strict=True)], torch.stack(k).mean(0)


def merged(tokens: list[Token], metric, pairs: int) -> list[Token]:
    """The tokens after the best pairs of an even and an odd one have become one: kept even ones, then odd ones."""
    even, odd = tokens[::2], tokens[1::2]
    best = []
    for number, key in enumerate(metric[::2]):
        alike = [cosine_similarity(key, other, 0).item() for other in metric[1::2]]
        best.append((max(alike), number, alike.index(max(alike))))
    best.sort(reverse=True)
    for _, number, partner in best[:pairs]:
        (places, value), (theirs, their_value) = even[number], odd[partner]
        together = len(places) + len(theirs)
        odd[partner] = (theirs + places, (len(theirs) * their_value + len(places) * value) / together)
    return [even[number] for _, number, _ in best[pairs:]] + odd


def mapped(tokens: list[Token], places: int) -> torch.Tensor:
    """The map of an image's tokens, (N, C)."""
    rows = {place: value for here, value in tokens for place in here}
    return torch.stack([rows[place] for place in range(places)])


def merge(layer, tokens: list[Token], pairs: int) -> list[Token]:
    """The tokens of an image after a layer."""
    after, metric = attended(layer, tokens)
    few = min(pairs, len(tokens) // 2)
    return merged(after, metric.detach(), few) if few else after


def by_definition(layer, x, *, merge=3, **_):
    """The formula of the class's docstring, image by image, pair by pair."""
    images = []
    for image in x.flatten(1, 2):
        tokens = merge_of(layer, list(starmap(lambda place, value: ([place], value), enumerate(image))), merge)
        images.append(mapped(tokens, len(image)) - image)
    return torch.stack(images).view(x.shape)


merge_of = merge
PLACES = across({name: SITES[name] for name in ("square", "odd", "one token")}, merge=(0, 3, 9))

CASE = Case(
    mechanism=TokenMergingAttention,
    definition=by_definition,
    defined_at=PLACES,
    usual=[at("odd", SITES["odd"], merge=3)],
    half_precision_at=[at("nothing merged", SITES["odd"], merge=0)],  # rounding turns what is most alike
    compiled_at=[at("odd", SITES["odd"], merge=3)],
    counted=[
        Counted(
            places=across({"odd": SITES["odd"]}, merge=(0,), backend=BACKENDS),
            parts={"addmm": "projections", "bmm": "attention"},
        )
    ],
    macs=[
        # 6 tokens of 4 channels in 2 heads: 3 x 3 similarities of 2 channels, two tokens added to others.
        (SMALL, {"merge": 2}, Macs(projections=384, attention=288, other=18 + 2 * 4)),
        (SMALL, {"merge": 0}, Macs(projections=384, attention=288)),
        # The third layer: 6, then 4, then 2 tokens.
        (replace(SMALL, layer=2, depth=3), {"merge": 2}, Macs(projections=128, attention=32, other=2 + 4)),
        # The second of 24 tokens: a twelfth of them are merged.
        (site_of(4, 6, 1), {}, Macs(projections=4 * 22 * 64, attention=2 * 22**2 * 8, other=11 * 11 * 4 + 2 * 8)),
    ],
    refused=[(SMALL, {"merge": -1}, "merge must be at least 0, got -1")],
    refused_by=["macs", "mlp_tokens"],
    adaptations=[(SITES["odd"], {}, None)],
)
