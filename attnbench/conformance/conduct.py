"""Checks of what a layer does to maps and to its surroundings. The first four are what all others rely on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attnbench.conformance.candidate import Candidate, distance, image
from attnbench.conformance.finding import BrokenError, in_a_line
from attnbench.errors import PluginError
from attnbench.mechanism import Map, Mechanism, Site
from attnbench.plugins.adapted import Adapted
from attnbench.worker import torch_state
from attnbench.worker.surroundings import Surroundings
from attnbench.worker.validation import require_nothing_kept

_CHANGES, _RENEWED = 24, 8
"""Changes of a map in place, and every how many of them a new layer says what is right."""
_CLOSE = 1e-9
"""Relative difference that orders of summation explain in float64."""


def supported(candidate: Candidate) -> str:
    """What why_unsupported accepts can be built and run; what it refuses has a reason."""
    heads_that_do_not_divide = replace(candidate.sites[0], heads=candidate.sites[0].dim + 1)
    reasons = {site: candidate.why_unsupported(site) for site in (*candidate.sites, heads_that_do_not_divide)}
    for site, reason in reasons.items():
        if reason is None:
            _run(candidate, site)
        elif not (isinstance(reason, str) and reason.strip()):
            raise BrokenError(f"refused with {reason!r}", expected="a reason in words, or None", site=site)
    accepted = [site for site in candidate.sites if reasons[site] is None]
    if not accepted:
        raise BrokenError(
            f"every site is refused: {reasons[candidate.sites[0]]}",
            expected="a site that it can be checked at; give some that suit it with sites=[...]",
        )
    layer = candidate.layer(accepted[0])
    if isinstance(layer, Adapted) and (why := layer.why_of_blocks(accepted[0], candidate.options)):
        raise BrokenError(why, expected="a layer of maps, or what it is made for said", site=accepted[0])
    return f"{len(accepted)} of {len(candidate.sites)} sites accepted, and run"


def _run(candidate: Candidate, site: Site) -> None:
    try:
        candidate.layer(site)(image(site))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise BrokenError(
            f"accepted, but raises {in_a_line(error)}",
            advice=_INFERS if _infers(candidate, site) else "fix it, or refuse the site in why_unsupported",
            site=site,
        ) from error


_INFERS = (
    "it runs where no gradient is asked for: if it only infers, say trains = False in the class, "
    "or adapt(..., trains=False)"
)


def _infers(candidate: Candidate, site: Site) -> bool:
    """Return whether a layer runs as long as nobody asks it for gradients."""
    try:
        with torch.no_grad():
            candidate.layer(site)(image(site))
    except KeyboardInterrupt:
        raise
    except BaseException:  # it may raise anything
        return False
    return True


def shape(candidate: Candidate) -> str:
    """A map comes back in the shape it had, shrunk by what the class says, in its dtype, and its values are finite."""
    for site in candidate.supported:
        layer = candidate.layer(site)
        _require_shrinks(candidate, layer, site)
        _compare(layer, image(site), site)
    # Once more in the dtype that networks are built in: what is made double unawares does not show above.
    site = candidate.base
    _compare(candidate.layer(site).float(), image(site).float(), site)
    return f"kept at {len(candidate.supported)} sites"


def _require_shrinks(candidate: Candidate, layer: Mechanism, site: Site) -> None:
    """Raise BrokenError if a layer's stride is not that of its class, or no stride."""
    try:
        by = candidate.layers.shrinks(site)
    except PluginError as error:
        raise BrokenError(str(error), expected="the stride by which the map shrinks", site=site) from None
    if layer.shrunk_by != by:
        raise BrokenError(
            f"shrunk_by is {layer.shrunk_by!r}",
            expected=f"{by}, as shrinks says",
            advice="set it in the constructor: self.shrunk_by = self.shrinks(site, **options)",
            site=site,
        )


def _compare(layer: Mechanism, x: Map, site: Site) -> None:
    """Raise BrokenError if a map does not come back as one like it."""
    y, after, by = layer(x), site.shrunk(layer.shrunk_by), layer.shrunk_by
    kept, whose = (len(x), after.height, after.width, site.dim), f", shrunk by {by}" if by > 1 else ""
    for what, said in ((y, ""), (layer.shortcut(x), "shortcut gives ")):
        if not isinstance(what, Tensor) or what.shape != kept:
            returned = tuple(what.shape) if isinstance(what, Tensor) else f"a {type(what).__name__}"
            raise BrokenError(f"{said}{returned}", expected=f"{kept}, the shape of the map{whose}", site=site)
    require_dtype(y, x, site)
    if not y.isfinite().all():
        bad = int((~y.isfinite()).sum())
        raise BrokenError(
            f"{bad:,} of {y.numel():,} values are NaN or infinite",
            expected="finite values throughout",
            advice="look for a division by 0, a log or root of what may be 0 or less, a softmax over nothing but -inf",
            site=site,
        )


def require_dtype(y: Tensor, x: Tensor, site: Site) -> None:
    """Raise BrokenError if a result has another dtype than its map."""
    if y.dtype is not x.dtype:
        raise BrokenError(
            f"{y.dtype} for a map of {x.dtype}",
            expected=f"{x.dtype}, the dtype of the map",
            advice="cast back before returning, with .to(x.dtype)",
            site=site,
        )


def global_state(candidate: Candidate) -> str:
    """Loading, building and running a layer leaves what everyone in the process shares as it was."""
    with torch_state.restored():  # to find a site, the layer may have been tried
        site = candidate.base
        x = image(site)
        torch.manual_seed(0)
    house = Surroundings()
    with torch_state.restored() as changes:
        layer = candidate.mechanism(site, **candidate.options).double().eval()
        layer.requires_grad_(candidate.mechanism.trains)(x)
    settled = house.settle()
    found = [*candidate.changes, *changes, *settled.undone, *settled.left]
    if found:
        raise BrokenError("; ".join(dict.fromkeys(found)))
    return "nothing changed"


def seeded(candidate: Candidate) -> str:
    """A layer that is built again from the same seed has the same weights."""
    site = candidate.base
    one, other = (candidate.layer(site).state_dict() for _ in range(2))
    unlike = [name for name, each in one.items() if not torch.equal(each, other[name])]
    if unlike:
        raise BrokenError(
            f"{', '.join(unlike)} differ",
            advice="draw weights from the generators of torch, numpy or Python, which are seeded",
            site=site,
        )
    return f"{len(one)} tensors alike"


def deterministic(candidate: Candidate) -> str:
    """In evaluation mode, the same map gives the same result every time, whatever maps came before."""
    site = candidate.base
    layer, x = candidate.layer(site), image(site)
    given, first = x.clone(), layer(x)
    changed = not torch.equal(x, given)
    if changed or (isinstance(layer, Adapted) and layer.overwrites(x)):
        by = f": it changes by {distance(x, given):.1e}" if changed else ", in the layout that it takes"
        raise BrokenError(
            f"a call overwrites the map that it is given{by}",
            expected="the map as it was: the block adds it to the result",
            advice="write into a copy: x = x * 0.7 instead of x *= 0.7",
            site=site,
        )
    second = layer(x)
    if not torch.equal(first, second):
        raise BrokenError(
            f"results that differ by {distance(second, first):.1e}",
            advice="draw random numbers in training only, and change nothing in forward",
            site=site,
        )
    _forget(candidate, layer, replace(site, width=2 * site.width), batch=2)
    _forget(candidate, layer, site, batch=1)
    return "equal in every bit"


def _forget(candidate: Candidate, used: Mechanism, site: Site, *, batch: int) -> None:
    """Raise BrokenError if a layer that has seen maps treats other ones, or its first one then, unlike a new layer.

    A layer is built for one size of map, so one that raises at another has said what it does not take.
    """
    base = candidate.base
    for x in (image(site, batch=batch, seed=3), image(base)):
        try:
            expected, found = candidate.layer(base)(x), used(x)
        except Exception:  # noqa: S112 - it may raise anything
            continue
        if found.shape != expected.shape or not torch.allclose(found, expected, rtol=_CLOSE, equal_nan=True):
            raise BrokenError(
                f"a map of {tuple(x.shape)} gives another result once others came before it",
                advice="keep nothing from call to call that the result depends on, not even a size",
                site=base,
            )


def answers_anew(candidate: Candidate) -> str:
    """A map that changes where it lies, in any one of its values, gets its own result, at every call."""
    site = candidate.base
    layer, fresh, x = candidate.layer(site), candidate.layer(site), image(site, batch=1)
    places = torch.randperm(x.numel(), generator=torch.Generator().manual_seed(3))[:_CHANGES].tolist()
    with torch.no_grad():
        for call, place in enumerate(places, start=1):
            x.view(-1)[place] += 1.0
            error = distance(layer(x), fresh(x.clone()) if call % _RENEWED else candidate.layer(site)(x.clone()))
            if not error < _CLOSE:
                raise BrokenError(
                    f"call {call} is off by {error:.1e} of the largest value once one value of its map has changed",
                    advice="work every result out from its own map; keep what depends on shapes and weights alone",
                    site=site,
                )
    return f"in {len(places)} calls"


def keeps_nothing(candidate: Candidate) -> str:
    """Once its caches are filled, a layer keeps no tensors of a call."""
    site = candidate.base
    layer, x = candidate.layer(site), image(site)
    with torch.no_grad():
        layer(x)
    try:
        require_nothing_kept(layer, x)
    except PluginError as error:
        said, _, advice = str(error).partition("; ")
        raise BrokenError(said, advice=advice, site=site) from None
    return "no tensors more after a second call"


def images_apart(candidate: Candidate) -> str:
    """The images of a batch do not see each other."""
    worst = 0.0
    for site in candidate.supported:
        layer, x = candidate.layer(site), image(site, batch=3)
        apart = torch.cat([layer(one) for one in x.chunk(3)])
        error = distance(layer(x), apart)
        if not error < _CLOSE:
            raise BrokenError(
                f"in a batch of three they differ from themselves alone by {error:.1e} of the largest value",
                expected=f"no more than {_CLOSE:.0e}",
                site=site,
            )
        worst = max(worst, error)
    return f"within {worst:.1e} of each by itself"


def state_dict(candidate: Candidate) -> str:
    """A state dict carries everything that the result depends on into a new layer."""
    site = candidate.base
    first, second = candidate.layer(site), candidate.layer(site, seed=7)
    second.load_state_dict(first.state_dict())
    x = image(site)
    if not torch.equal(first(x), second(x)):
        raise BrokenError(f"the new layer's result is off by {distance(second(x), first(x)):.1e}", site=site)
    return f"{len(first.state_dict())} tensors, result equal in every bit"
