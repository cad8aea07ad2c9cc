"""What is counted of one cell, without memory for weights or maps: parameters, multiply-adds, bytes that must move."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import torch
from torch import Tensor, nn

from attnbench import roofline
from attnbench.axes import INT8, OFF
from attnbench.mechanism import Macs
from attnbench.models import calls, subject
from attnbench.probes import flops
from attnbench.record import Mode, Value
from attnbench.worker.vouched import vouched_for


def count(asked: subject.Subject) -> dict[str, Value]:
    """Return parameters, multiply-adds and the bytes that must move, found without memory for weights or maps."""
    per = asked.layers
    counts = flops.count(asked.on_meta)
    closed = asked.closed_form()
    left_out = counts.uncounted
    if closed and _is_own_operator_vouched_for(asked, closed[0], counts):
        counts = replace(counts, unseen={name: each for name, each in counts.unseen.items() if isfinite(each)})
        left_out = tuple(name for name in left_out if name in counts.unseen)
    macs, attention = multiply_adds(closed, counts)
    params, work = _work(asked, macs or 0, counts.output_bytes)
    return {
        "params": params // per,
        "macs": _each(macs, per),
        "flops": None if macs is None else 2 * macs // per,
        "macs_attention": _each(attention, per),
        "macs_closed": closed[0] // per if closed else None,
        "macs_torch": _each(counts.macs_torch, per),
        "macs_fvcore": _each(counts.macs_fvcore, per),
        "ops_elementwise": _each(counts.elementwise, per),
        "activations": _each(counts.activations, per),
        "macs_least": min(counts.macs_least, macs or 0) // per,
        "macs_remark": counts.remark or None,
        "uncounted_ops": " ".join(left_out) or None,
        "macs_doubt": doubt(closed[0] if closed else None, macs, counts) or None,
        "adaptation": asked.adaptation() or None,
        "bytes_lower_bound": None if asked.cell.dtype == INT8 else roofline.bytes_lower_bound(work) // per,
    }


def _is_own_operator_vouched_for(asked: subject.Subject, closed: int, counts: flops.Counts) -> bool:
    known = all(isfinite(each) for each in counts.unseen.values())
    return not known and isinstance(asked, subject.MechanismSubject) and vouched_for(asked, closed)


def multiply_adds(closed: tuple[int, Macs] | None, counts: flops.Counts) -> tuple[int | None, int | None]:
    """Return all multiply-adds and those of attention products, for one image.

    They are the closed form's. Where the two counters left nothing out and agree on another number, they are torch's:
    a formula is as easily mistaken as anything else that is written down.
    """
    if closed is None or _refuted(closed[0], counts):
        return counts.macs_torch, counts.macs_attention
    return closed[0], closed[1].attention


def doubt(closed: int | None, macs: int | None, counts: flops.Counts) -> str:
    """Return what speaks against the multiply-adds that a row goes by; empty if nothing does.

    Args:
        closed: those by closed form.
        macs: those that the row goes by.
        counts: those that were counted.
    """
    if macs is None:
        return ""
    said = [below] if (below := too_low(closed, counts.macs_torch)) and macs == closed else []
    known = {name: unseen for name, unseen in counts.unseen.items() if isfinite(unseen)}
    said += [f"{name} may do any amount of work" for name in counts.unseen if name not in known]
    if sum(known.values()) > flops.TOLERANCE * macs:
        largest = sorted(known, key=lambda name: -known[name])
        said.append(f"they leave out {', '.join(f'{name}, worth some {known[name]:,.0f}' for name in largest)}")
    return "; ".join(said)


def too_low(closed: int | None, counted: int | None) -> str:
    """Return by how much a closed form is below what torch counts, empty if it is by no more than 1 %."""
    if closed is None or not counted or closed >= (1 - flops.TOLERANCE) * counted:
        return ""
    return f"the closed form says {closed:,}, {1 - closed / counted:.0%} less than torch counts, {counted:,}"


def _refuted(closed: int, counts: flops.Counts) -> bool:
    torch_count, other = counts.macs_torch, counts.macs_fvcore
    if not torch_count or not other or counts.uncounted:
        return False
    return flops.agree(torch_count, other) and not flops.agree(closed, torch_count)


def _work(asked: subject.Subject, macs: int, output_bytes: int) -> tuple[int, roofline.Work]:
    """Return the number of parameters, and what one call has to do.

    Args:
        asked: the cell's subject.
        macs: for one image.
        output_bytes: what the module returned for one image, in evaluation mode; 0 if that is not known.
    """
    cell = asked.cell
    model, (x,) = asked.on_meta()
    if cell.batch > 1 or cell.mode is Mode.TRAIN or not output_bytes:
        output_bytes = _output_bytes(model.train(cell.mode is Mode.TRAIN), x)
    if cell.autocast != OFF:  # which outputs it leaves in a half type only running it tells
        output_bytes //= 2
    parameters = list(model.parameters())
    work = roofline.Work(
        macs=macs,
        batch=cell.batch,
        mode=cell.mode,
        dtype=cell.dtype,
        params_bytes=sum(p.nbytes for p in parameters),
        input_bytes=x.nbytes,
        output_bytes=output_bytes,
    )
    return sum(p.numel() for p in parameters), work


@torch.no_grad()
def _output_bytes(model: nn.Module, x: Tensor) -> int:
    """Return the bytes of a model's outputs, 0 if it reads numbers, which are not there on the meta device."""
    try:
        return sum(each.nbytes for each in calls.outputs_of(model(x)))
    except Exception:  # a kernel from elsewhere may raise anything without data
        return 0


def _each(total: int | None, layers: int) -> int | None:
    return None if total is None else total // layers
