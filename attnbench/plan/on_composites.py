"""The cells that are trained on composites: networks under the heads that are asked for, mechanisms under one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from attnbench.accuracy.composites import table
from attnbench.plan.reading import Values, sizes_under
from attnbench.plan.request import Request
from attnbench.record import Cell, Mode, Scope, Task
from attnbench.wording import number_of


def mistakes(request: Request, values: Values) -> list[str]:
    """Say what of a request cannot be trained on composites; nothing where they are not asked for."""
    if table.dressed_size(request.accuracy, values["res"]) and find_spec("skimage") is None:
        advice = "pip install 'attnbench[composites]', or leave out such --res"
        return [f"--accuracy {request.accuracy}: at 64 to 256 pixels it is on scikit-image's photographs: {advice}"]
    if not table.is_composite(request.accuracy):
        return []
    named, known = f"--accuracy {request.accuracy}", table.heads(request.accuracy)
    found = []
    if request.networks and not _heads(request, values):
        found.append(f"{named}: networks are trained under a head; give --task {' or '.join(known)}")
    if request.mechanisms and len(_heads(request, values)) > 1:
        found.append(f"{named}: mechanisms are trained under one head; give one --task")
    others = [head for head in values["task"] if head and head not in known]
    if others and not request.networks:
        found.append(f"{named}: --task {others[0]} is of another data set; leave it out")
    if request.checkpoint:
        found.append(f"{named}: networks are trained on composites from random weights; leave --checkpoint out")
    if request.mechanisms and not _sizes_of_mechanisms(values):
        found.append(f"{named}: no --res is from {_range()}; add one that is")
    for height, width in (size for head in _heads(request, values) for size in _sizes(request, values, head)):
        if not table.fits(height, width):
            found.append(f"{named}: composites have sides from {_range()}, not {height}x{width}; give other --res")
    return list(dict.fromkeys(found))


def cells(request: Request, values: Values, network: bool) -> Iterator[Cell]:
    """Yield the cells that train a network, or those that train a mechanism, without their names."""
    heads = _heads(request, values)
    if network:
        places = [(head, size) for head in heads for size in sizes_under(head, values)]
    else:
        places = [((heads or table.heads(request.accuracy))[0], _sizes_of_mechanisms(values)[0])]
    for head, (height, width) in places:
        yield Cell(
            task=Task.ACCURACY,
            scope=Scope.NETWORK if network else Scope.BACKBONE,
            head=head,
            mechanism="",
            height=height,
            width=width,
            device=values["device"][0],
            mode=Mode.TRAIN,
            threads=values["threads"][0],
            dataset=request.accuracy,
            seeds=request.seeds,
            epochs=request.epochs,
        )


def _heads(request: Request, values: Values) -> list[str]:
    """Return the heads that are asked for, as far as the data set is for them."""
    return [head for head in values["task"] if head in table.heads(request.accuracy)]


def _sizes(request: Request, values: Values, head: str) -> Sequence[tuple[int, int]]:
    return sizes_under(head, values) if request.networks else []


def _sizes_of_mechanisms(values: Values) -> Sequence[tuple[int, int]]:
    """Return the sizes that a mechanism can be trained at, of which it is trained at the first."""
    return [size for size in values["res"] if table.fits(*size)] if values["res"] else [table.USUAL]


def _range() -> str:
    return f"{table.SIDE.lowest} to {number_of(int(table.SIDE.highest), 'pixel')}"
