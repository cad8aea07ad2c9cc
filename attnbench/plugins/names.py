"""THE table of what arguments of foreign layers mean, by their names. It imports no torch: lists are made by it too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnbench.mechanism import Site

NETWORKS = "timm"
"""What stands in the place of a module where the layer inside a network is meant: ``timm:focalnet_tiny_srf``."""
CONFIGS = frozenset({"config", "cfg", "conf", "configuration", "args"})
"""What a configuration is called, which is made for a site and cannot be written behind a name."""
PLACES = {"device", "dtype"}
"""Where and in which type a layer is built: the harness's to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What arguments of some names mean."""

    names: frozenset[str]
    value: Callable[[Site, int], object]
    """Of a site and of the number of tokens before those of the map."""
    written: str
    """The same in Python, without those tokens."""
    is_size: bool = False
    """Whether it says how large the map is."""
    if_asked: bool = False
    """Whether it is filled in only where there is no default but None: as a number it may be in another unit."""


def _meaning(names: str, value: Callable[[Site, int], object], written: str, **more: bool) -> Meaning:
    return Meaning(names=frozenset(names.split()), value=value, written=written, **more)


_CHANNELS = (
    "dim in_dim in_dims input_dim n_dims embed_dim embed_dims n_embd d_model hidden_size channel channels in_channels "
    "in_chans in_chs chs in_planes inplanes inp gate_channels"
)
_RETURNED = "dim_out out_dim out_dims output_dim out_channels out_chans out_chs out_planes oup"
_SIZE = "input_resolution resolution map_size feat_size feature_size fmap_size input_size spatial_size size"
_BOTH_SIDES = "(site.height, site.width)"
MEANINGS = (
    _meaning("site", lambda site, _: site, "site"),
    _meaning(f"{_CHANNELS} {_RETURNED}", lambda site, _: site.dim, "site.dim"),
    _meaning("heads num_heads n_heads n_head nhead num_attention_heads", lambda site, _: site.heads, "site.heads"),
    _meaning("head_dim dim_head head_size", lambda site, _: site.head_dim, "site.head_dim"),
    _meaning(_SIZE, lambda site, _: (site.height, site.width), _BOTH_SIDES, is_size=True),
    _meaning("img_size", lambda site, _: (site.height, site.width), _BOTH_SIDES, is_size=True, if_asked=True),
    _meaning("height", lambda site, _: site.height, "site.height", is_size=True),
    _meaning("width", lambda site, _: site.width, "site.width", is_size=True),
    _meaning("num_patches", lambda site, _: site.tokens, "site.tokens", is_size=True),
    _meaning(
        "tokens num_tokens n_tokens seq_len", lambda site, prefix: prefix + site.tokens, "site.tokens", is_size=True
    ),
)
"""What a site can fill in. A name that is not here is an option, or has to be given."""
KNOWN = {name: meaning for meaning in MEANINGS for name in meaning.names}
