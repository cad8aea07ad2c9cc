"""The cells that evaluate checkpoints of network and head: at the sizes and paddings that costs are asked at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from attnbench.accuracy.dense import table
from attnbench.models.dense import DEFAULT_SIZE
from attnbench.plan.preflight import Finding, Size
from attnbench.plan.reading import Values, sizes_under
from attnbench.plan.request import Request
from attnbench.record import Cell, Scope, Task


def mistakes(request: Request, values: Values) -> list[str]:
    """Say what of a request cannot be evaluated on these data; nothing where they are not asked for."""
    if not table.is_annotated(request.accuracy):
        return []
    named, known = f"--accuracy {request.accuracy}", table.heads(request.accuracy)
    heads = [head for head in values["task"] if head in known]
    found = []
    if not request.networks:
        found.append(f"{named}: networks are evaluated on it, by --networks NAME --task HEAD --checkpoint NAME=FILE")
    elif not heads:
        found.append(f"{named}: networks are evaluated under a head; give --task {' or '.join(known)}")
    elif len(heads) > 1:
        found.append(f"{named}: a checkpoint is of one head; give one of --task {', '.join(heads)}")
    if request.class_order:
        found.append(f"{named}: its classes are numbered by itself; leave --class-order out")
    return found


def cells(request: Request, values: Values, finding: Finding) -> Iterator[Cell]:
    """Yield the cells that evaluate a network's checkpoint, without its name: one a size and a padding."""
    head = finding.wanted.head
    for (height, width), divisor in itertools.product(sizes_under(head, values), values["pad"] or [0]):
        yield Cell(
            task=Task.ACCURACY,
            scope=Scope.NETWORK,
            head=head,
            mechanism="",
            height=height,
            width=width,
            size_divisor=divisor,
            device=values["device"][0],
            threads=values["threads"][0],
            dataset=request.accuracy,
            checkpoint=finding.wanted.checkpoint,
            checkpoint_sha256=finding.checkpoint_sha256,
        )


def sizes(request: Request) -> Sequence[Size]:
    """Return the image sizes at which a checkpoint is looked at: those asked for, else what is usual."""
    heads = [head for head in table.heads(request.accuracy) if head in request.written("task")]
    return request.sizes if request.written("res") or not heads else [DEFAULT_SIZE[heads[0]]]
