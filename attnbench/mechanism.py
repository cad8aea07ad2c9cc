"""The contract between the harness and an attention mechanism.

A mechanism is the whole attention sub-layer: its own norms and projections included, the outer residual not.
The block around it computes ``x = x + mechanism(x)`` and then ``x = x + mlp(x)``. Where a layer makes its map smaller,
``x = mechanism.shortcut(x) + mechanism(x)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from attnbench.plugins.options import parameters

Map: TypeAlias = Float[Tensor, "batch height width dim"]
MapAfter: TypeAlias = Float[Tensor, "batch height_after width_after dim"]
"""The map that a layer returns: as large as its own, or smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The place in a network that a layer is built for.

    A layer is built for one height and width, because windows, biases and token mixing are.

    Example:
        >>> site = Site(height=14, width=28, dim=64, heads=2, stride=16)
        >>> site.tokens, site.head_dim
        (392, 32)
    """

    height: int
    """Tokens down."""
    width: int
    """Tokens across."""
    dim: int
    """Channels C."""
    heads: int
    """Heads h; the head width is C / h."""
    stride: int = 16
    """Image pixels per token along a side: 4, 8, 16, 32 in the four stages of a pyramid."""
    layer: int = 0
    """Index of the layer within its stage, from 0."""
    depth: int = 1
    """Layers in the stage."""
    before: Site | None = None
    """The last site of the stage before, None in the first stage."""

    @property
    def tokens(self) -> int:
        """N = height x width."""
        return self.height * self.width

    @property
    def index(self) -> int:
        """Index of the layer in the whole network, from 0: what some mechanisms start their weights by."""
        return self.layer if self.before is None else self.before.index + 1 + self.layer

    @property
    def head_dim(self) -> int:
        """Channels per head, d = C / h, rounded down."""
        return self.dim // self.heads

    def shrunk(self, by: int) -> Site:
        """Return the same place with a map that is smaller by a stride along each side, what is left over kept.

        Example:
            >>> site = Site(height=7, width=8, dim=64, heads=2, stride=8).shrunk(2)
            >>> site.height, site.width, site.stride
            (4, 4, 16)
        """
        return replace(self, height=-(-self.height // by), width=-(-self.width // by), stride=self.stride * by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Macs:
    """Multiply-adds per image in matrix products and convolutions (1 MAC = 2 FLOPs).

    Norms, softmax, activations and other elementwise work are left out, as in torch's and fvcore's counts.

    Raises:
        ValueError: a number is not a whole one from 0.

    Example:
        >>> Macs(projections=384, attention=288) + Macs(projections=16, attention=0, other=2)
        Macs(projections=400, attention=288, other=2)
        >>> Macs(projections=384, attention=288).total
        672
    """

    projections: int
    """Products of the map with learned weights: q, k, v, output projection."""
    attention: int
    """Products that mix tokens by attention: scores and weighted sums (what some papers leave out)."""
    other: int = 0
    """Convolutions and products that are neither, such as LaViT's mixing over the token axis."""

    def __post_init__(self) -> None:
        for name, number in (("projections", self.projections), ("attention", self.attention), ("other", self.other)):
            if not isinstance(number, int) or number < 0:
                raise ValueError(f"Macs.{name} is {number!r}; multiply-adds are whole numbers from 0")

    @property
    def total(self) -> int:
        """All multiply-adds of the layer."""
        return self.projections + self.attention + self.other

    def __add__(self, other: Macs) -> Macs:
        return Macs(
            projections=self.projections + other.projections,
            attention=self.attention + other.attention,
            other=self.other + other.other,
        )


class Mechanism(nn.Module, ABC):
    """An attention sub-layer that attnbench can build, check and measure.

    Subclasses take the site first and their options as keyword arguments with defaults; an option is an int, float,
    bool, str or ``Literal`` of these, ``int | Literal["auto"]`` included. Interchangeable implementations
    of one layer (same parameters, same output) are an option named ``backend``.

    A layer that is trained by a loss of its own, too, calls ``attnbench.auxiliary.contribute`` in its forward pass.

    The first line of the class docstring is what ``attnbench list`` shows.

    Example:
        >>> class MeanAttention(Mechanism):
        ...     '''Every token gets the mean of the map, times a gain.'''
        ...
        ...     def __init__(self, site: Site, *, gain: float = 1.0) -> None:
        ...         super().__init__(site)
        ...         self.gain = gain
        ...
        ...     def forward(self, x: Map) -> Map:
        ...         return self.gain * x.mean((1, 2), keepdim=True).expand_as(x)
        >>> option_defaults(MeanAttention)
        {'gain': 1.0}
        >>> MeanAttention.why_unsupported(Site(height=14, width=14, dim=64, heads=5))
        'dim 64 does not divide into 5 heads'
    """

    paper: ClassVar[str] = ""
    """Authors, venue and arXiv number, as one line."""
    reach: ClassVar[Literal["local", "global"] | None] = "global"
    """Whether a token of a large map can be influenced by every other one within one layer; None if nobody said."""
    compiles: ClassVar[bool] = True
    """Whether torch.compile is claimed to take the layer whole, as one graph."""
    exports: ClassVar[bool] = True
    """Whether torch.export is claimed to take the layer."""
    trains: ClassVar[bool] = True
    """Whether the layer has a backward pass; one that has none is measured in inference alone."""
    infers_only: ClassVar[tuple[str, ...]] = ()
    """Values of ``backend`` whose layers have none, where the others have one."""

    added: ClassVar[Mapping[str, str | int | float | bool | None]] = {}
    """Options that came when runs had been kept, each with the value at which the layer is as it was before:
    ``{"partial": "averaged"}``. At that value, which is the default, an option is no part of a cell: it is not handed
    to any method but stays at its default, the cell has the key that it had, and its rows are found and resumed."""
    undecayed: ClassVar[tuple[str, ...]] = ()
    """Parameters that weight decay leaves alone where the layer is trained, by the ends of their names: tables of
    position biases (``table``), weights that start as the identity (``psi.weight``). Those of one dimension never
    decay."""

    shrunk_by: int = 1
    """By how much this layer makes its map smaller along each side: what ``shrinks`` says of its site. The constructor
    of a layer that does sets it."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site

    @abstractmethod
    def forward(self, x: Map) -> MapAfter:
        """Return the attended map, (B, H, W, C) to (B, H, W, C), without the outer residual.

        A layer that shrinks its map by s returns (B, H / s, W / s, C), rounded up.
        """

    def shortcut(self, x: Map) -> MapAfter:
        """Return what the layer's output is added to, the outer residual: the map itself, (B, H, W, C).

        Of a layer that shrinks its map by s it is the maxima in blocks of s x s tokens, (B, H / s, W / s, C), rounded
        up, as in Hiera and MViTv2; whoever pools it otherwise overrides this method.
        """
        return x if self.shrunk_by == 1 else pooled(x, self.shrunk_by)

    def step(self, x: Map, carry: Any) -> tuple[MapAfter, Any]:  # noqa: ANN401 - each mechanism carries what it likes
        """Run the layer as one step of a network, with what earlier layers handed on.

        The carry is None before the first layer of the network and then whatever the layer before returned, from
        stage to stage. Mechanisms that reuse what an earlier layer computed override this method.
        """
        return self(x), carry

    def rest(self, x: Map, carry: Any, mlp: Callable[[Map], Map]) -> tuple[Map, Any]:  # noqa: ANN401
        """Run the MLP that follows the layer in its block, without the residual, and return what is handed on.

        The MLP takes each token by itself, from a map of any height and width. Where the map is not all that there is,
        or more than there is, this method is overridden, and ``mlp_tokens`` with it: tokens beside the map, which the
        carry holds, go through the MLP too; of tokens that were merged, one does.

        Args:
            x: the map after the layer, its residual added, (B, H, W, C).
            carry: what ``step`` returned.
            mlp: the block's, its norm included, (B, H, W, C) to (B, H, W, C).
        """
        return mlp(x), carry

    @classmethod
    def mlp_tokens(cls, site: Site, **options: Any) -> int:  # noqa: ANN401
        """Return how many tokens of an image go through the MLP that follows the layer: those of its output's map."""
        return site.shrunk(cls.shrinks(site, **options)).tokens

    @classmethod
    def shrinks(cls, site: Site, **options: Any) -> int:  # noqa: ANN401, ARG003
        """Return the stride s by which the layer makes its map smaller along each side, 1 where it does not.

        The layers after it stand at ``site.shrunk(s)``. In a backbone only the first layer of a stage may shrink its
        map: the stage's patches are smaller by as much then, so that all other layers have the maps that they have
        under any mechanism. It must not depend on height, width and stride of a site that has a stage before it.
        """
        return 1

    @classmethod
    def why_unsupported(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401, ARG003
        """Say why the layer cannot be built at a site, or None if it can.

        Raises:
            ValueError: an option has a value that no site could take.
        """
        return None if site.dim % site.heads == 0 else f"dim {site.dim} does not divide into {site.heads} heads"

    @classmethod
    def macs(cls, site: Site, **options: Any) -> Macs | None:  # noqa: ANN401, ARG003
        """Return the closed form of the layer's multiply-adds for one image.

        None where there is none: the layer's multiply-adds are then those that torch's counter finds.
        """
        return None

    @classmethod
    def adaptation(cls, site: Site, **options: Any) -> str | None:  # noqa: ANN401, ARG003
        """Say what is done to a map that does not fit the layer as published (padding, scaling), None if nothing."""
        return None


def pooled(x: Map, by: int) -> MapAfter:
    """Return the maxima of a map in blocks of ``by`` x ``by`` tokens, and of what is left at its lower right border.

    Args:
        x: the map, (B, H, W, C) to (B, H / by, W / by, C), rounded up.
        by: tokens along a side of a block.
    """
    maxima: MapAfter = F.max_pool2d(x.permute(0, 3, 1, 2), by, ceil_mode=True).permute(0, 2, 3, 1)
    return maxima


def option_defaults(mechanism: type[Mechanism]) -> dict[str, Any]:
    """Return a mechanism's options with their defaults, in the order of its constructor."""
    unset = getattr(mechanism, "unset", ())
    return {
        name: p.default for name, p in parameters(mechanism).items() if p.default is not p.empty and name not in unset
    }
