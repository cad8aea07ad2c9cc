"""Whether a layer gives, timed as ``attnbench run`` times it, what it gives where nothing looks like timing."""

from __future__ import annotations

import torch
from torch import Tensor

from attnbench.conformance.candidate import Candidate, distance, image, new_values, require_trains
from attnbench.conformance.finding import BrokenError, NotClaimedError
from attnbench.mechanism import Map, Mechanism
from attnbench.models.aside import aside
from attnbench.models.values import seed_all
from attnbench.probes import agreement

_CALLS = 40
"""Of a layer; the last is looked at as well, for one that counts them."""
_LOOKED_AT = (1, 2, _CALLS)
_TIGHT = agreement.TIGHT[torch.float32]
_ADVICE = "keep what depends on shapes and weights alone, and do the same whoever calls"


def as_timed(candidate: Candidate) -> str:
    """Timed as a run times it, call after call, a layer gives what an untouched one gives for the same values."""
    layer, x = candidate.single(), image(candidate.base).float()
    with torch.inference_mode():
        for call, number in new_values(x, _CALLS):
            y = layer(x)
            if call in _LOOKED_AT:
                _require_right(candidate, y, x, call=call, number=number)
    said = f"in {_CALLS} calls"
    return f"{said}, and as many training steps" if _trained_as_timed(candidate) else said


def _require_right(candidate: Candidate, y: Map, x: Map, *, call: int, number: int) -> None:
    plain, exact = (_untouched(candidate, x, number, double=double) for double in (False, True))
    allowed = max(_TIGHT, agreement.FACTOR * distance(plain, exact))
    if not (error := distance(y, exact)) <= allowed:
        raise BrokenError(
            f"call {call} is off by {error:.1e} of the largest value",
            expected=f"no more than {allowed:.1e}: what an untouched layer gives in another thread, without a clock",
            advice=_ADVICE,
            site=candidate.base,
        )


def _untouched(candidate: Candidate, x: Map, number: int, *, double: bool) -> Tensor:
    """Return what a layer that has seen nothing gives where nothing looks like timing."""

    def work() -> Tensor:
        layer, values = candidate.single(), x.clone()
        seed_all(number)
        y: Tensor = layer.double()(values.double()) if double else layer(values)
        return y.detach()

    return aside(work)


def _trained_as_timed(candidate: Candidate) -> bool:
    """Hold training steps to the same, gradients too, for the buffers that the last one found."""
    try:
        require_trains(candidate)
    except NotClaimedError:
        return False
    layer, x = candidate.single().train(), image(candidate.base).float().requires_grad_()
    for call, number in new_values(x, _CALLS):
        if call == _CALLS:
            right = _untouched_step(candidate, layer, x, number)
        found = _step(layer, x, number)
    wrong = agreement.beyond(agreement.errors(found, right), None, agreement.FACTOR * _TIGHT)
    if wrong:
        name, error = agreement.worst(wrong)
        how = f"off by {error:.1e} of the largest value" if name in found else "missing"
        raise BrokenError(
            f"in training step {_CALLS} the {name} is {how}",
            expected=f"no more than {agreement.FACTOR * _TIGHT:.1e}",
            advice=_ADVICE,
            site=candidate.base,
        )
    return True


def _untouched_step(candidate: Candidate, layer: Mechanism, x: Map, number: int) -> dict[str, Tensor]:
    state = {name: each.clone() for name, each in layer.state_dict().items()}

    def work() -> dict[str, Tensor]:
        fresh = candidate.single().train()
        fresh.load_state_dict(state)
        return _step(fresh, x.detach().clone().requires_grad_(), number)

    return aside(work)


def _step(layer: Mechanism, x: Map, number: int) -> dict[str, Tensor]:
    """Return the output and the gradients of a training step."""
    layer.zero_grad(set_to_none=True)
    x.grad = None
    seed_all(number)
    y = layer(x)
    torch.autograd.backward(y, torch.ones_like(y))
    found = {"output": y.detach(), **_named("gradient of the input", x.grad)}
    for name, parameter in layer.named_parameters():
        found |= _named(f"gradient of {name}", parameter.grad)
    return {name: each.clone() for name, each in found.items()}


def _named(name: str, gradient: Tensor | None) -> dict[str, Tensor]:
    return {} if gradient is None else {name: gradient}
