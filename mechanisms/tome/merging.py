"""Which tokens are merged, and what a map is whose tokens were: the matching of ToMe."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor

Tokens: TypeAlias = Float[Tensor, "batch merged_tokens dim"]
Places: TypeAlias = Float[Tensor, "batch places dim"]
Sizes: TypeAlias = Float[Tensor, "batch merged_tokens 1"]
CHUNK_SCORES = 2**24
"""Similarities of one image that are in memory at a time."""


class Merged(NamedTuple):
    """The tokens of a map of which some stand for several places: what the layers of a stage hand on."""

    token: Int[Tensor, "batch places"]
    """The token of each place of the map."""
    first: Int[Tensor, "batch merged_tokens"]
    """A place of each token, any of those that it stands for."""
    sizes: Sizes
    """The places that each token stands for."""


class Matching(NamedTuple):
    """Pairs of tokens, those of even index with those of odd: the most alike are merged."""

    kept: Int[Tensor, "batch kept"]
    """Even tokens that stay by themselves, counted among the even ones."""
    source: Int[Tensor, "batch pairs"]
    """Even tokens that are merged."""
    target: Int[Tensor, "batch pairs"]
    """The odd token that each of them goes to, counted among the odd ones."""


def unmerged(like: Places) -> Merged:
    """Return the state of a map of which no token was merged."""
    each = torch.arange(like.shape[1], device=like.device).expand(like.shape[:2])
    return Merged(token=each, first=each, sizes=like.new_ones(*like.shape[:2], 1))


def tokens_of(merged: Merged, places: Places) -> Tokens:
    """Return the tokens of a map, all of whose places hold what their token does."""
    return _taken(places, merged.first)


def places_of(merged: Merged, tokens: Tokens) -> Places:
    """Return the map of the tokens."""
    return _taken(tokens, merged.token)


def matched(metric: Tokens, pairs: int) -> Matching:
    """Match each even token with the odd one that its metric is most alike to, by cosine; take the best pairs."""
    metric = F.normalize(metric.detach(), dim=-1)
    even, odd = metric[:, ::2], metric[:, 1::2]
    rows = max(1, CHUNK_SCORES // max(1, odd.shape[1]))
    best = [(part @ odd.transpose(1, 2)).max(-1) for part in torch.split(even, rows, 1)]
    score, partner = (torch.cat([part[index] for part in best], 1) for index in range(2))
    if torch.compiler.is_exporting():  # ONNX has no stable sort; equal scores may be taken in another order there
        order = score.topk(score.shape[1], dim=1).indices
    else:
        order = score.sort(descending=True, stable=True).indices
    source = order[:, :pairs]
    return Matching(kept=order[:, pairs:], source=source, target=partner.gather(1, source))


def merge(matching: Matching, before: Merged, tokens: Tokens) -> tuple[Merged, Float[Tensor, "batch fewer_tokens dim"]]:
    """Return the state after merging, and the tokens, each the mean over all places that it stands for."""
    sizes = _sums(matching, before.sizes)
    means = _sums(matching, tokens * before.sizes) / sizes
    odd, kept = before.first[:, 1::2], matching.kept.shape[1]
    new = torch.arange(sizes.shape[1], device=odd.device).expand(len(odd), -1)
    number = torch.empty_like(before.first)
    number[:, 1::2] = new[:, kept:]
    even = number[:, ::2].scatter(1, matching.kept, new[:, :kept])
    number[:, ::2] = even.scatter(1, matching.source, kept + matching.target)
    first = torch.cat([before.first[:, ::2].gather(1, matching.kept), odd], 1)
    return Merged(token=number.gather(1, before.token), first=first, sizes=sizes), means


def _sums(matching: Matching, tokens: Tensor) -> Tensor:
    """Return the tokens with each source added to its target: the kept even ones, then the odd ones."""
    even, odd = tokens[:, ::2], tokens[:, 1::2]
    added = odd.scatter_add(1, _wide(matching.target, tokens), _taken(even, matching.source))
    return torch.cat([_taken(even, matching.kept), added], 1)


def _wide(index: Tensor, like: Tensor) -> Tensor:
    return index.unsqueeze(-1).expand(-1, -1, like.shape[-1])


def _taken(tokens: Tensor, index: Tensor) -> Tensor:
    """Return tokens by index, image by image."""
    return tokens.gather(1, _wide(index, tokens))
