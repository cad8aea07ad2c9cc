"""What is done to one cell before it is timed with the others: load, count, foresee, build, measure memory, compile.

Each phase is entered by name before it starts, so that its death or delay can be told, and what it found is handed
on at once, so that nothing is lost if a later phase brings the process down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attnbench import datasets, machine, options, subject
from attnbench.job import Assignment, Settings
from attnbench.mechanism import Mechanism
from attnbench.probes import accuracy, flops, foresee, memory
from attnbench.record import Cell, Mode, Status, Value
from attnbench.registry import discover

Metrics = dict[str, Value]
Enter = Callable[[str], None]
Learn = Callable[[str, Metrics], None]


class Unmeasurable(Exception):  # noqa: N818 - an outcome, not a fault
    """A cell ends here, with a status that says why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True, kw_only=True)
class Ready:
    """A cell that is built and can be timed."""

    index: int
    cell: Cell
    model: nn.Module
    call: subject.Call
    parameter_bytes: int

    @property
    def layers(self) -> int:
        """Layers that the figures are divided by."""
        return subject.layers_per_figure(self.cell)


def prepare(
    index: int, assignment: Assignment, settings: Settings, enter: Enter, learn: Learn, *, held_bytes: int
) -> Ready:
    """Take a cell through every phase before the timing.

    Args:
        index: place of the cell in its job.
        assignment: the cell, and the phases that an earlier worker finished.
        settings: limits and seed.
        enter: called with the name of a phase before it starts.
        learn: called with what a phase found.
        held_bytes: what the cells prepared before hold in memory.

    Raises:
        Unmeasurable: the cell's mechanism does not support it, or it would not fit into memory.
    """
    cell = assignment.cell
    enter("loading")
    mechanism = discover().find(cell.mechanism).load()
    reason = subject.why_unsupported(cell, mechanism, options.choices(mechanism, "backend"))
    if reason:
        raise Unmeasurable(Status.UNSUPPORTED, reason)
    if "counting" not in assignment.phases_done:
        enter("counting")
        learn("counting", count(cell, mechanism))
    enter("foreseeing")
    parameter_bytes = _refuse_what_will_not_fit(cell, mechanism, settings, learn, held_bytes)
    enter("building")
    torch.manual_seed(settings.seed)
    device = torch.device(cell.device)
    model = subject.build(cell, mechanism).to(device=device, dtype=subject.DTYPES[cell.dtype])
    x = _moved(subject.example(cell), device)
    if "measuring memory" not in assignment.phases_done:
        enter("measuring memory")
        learn("measuring memory", measure_memory(cell, model, x))
    call = subject.call(cell, model, x)
    if cell.compiled:
        enter("compiling")
        call = _compiled(cell, model, x, learn)
    return Ready(index=index, cell=cell, model=model, call=call, parameter_bytes=parameter_bytes)


def count(cell: Cell, mechanism: type[Mechanism]) -> Metrics:
    """Return parameters and multiply-adds, counted without memory for weights or maps."""
    per = subject.layers_per_figure(cell)
    one_image = subject.of_one_image(cell)
    counts = flops.count(lambda: (subject.build(one_image, mechanism), (subject.example(one_image),)))
    with torch.device("meta"):
        params = sum(p.numel() for p in subject.build(cell, mechanism).parameters())
    closed, layers = subject.closed_form(cell, mechanism)
    return {
        "params": params // per,
        "macs": closed // per,
        "flops": 2 * closed // per,
        "macs_attention": layers.attention // per,
        "macs_closed": closed // per,
        "macs_torch": None if counts.macs_torch is None else counts.macs_torch // per,
        "macs_fvcore": None if counts.macs_fvcore is None else counts.macs_fvcore // per,
        "macs_remark": counts.remark or None,
        "uncounted_ops": " ".join(counts.uncounted) or None,
        "adaptation": subject.adaptation(cell, mechanism) or None,
    }


def measure_memory(cell: Cell, model: nn.Module, x: Tensor) -> Metrics:
    """Return the peak of memory of one call, and what a forward pass saves for the backward one."""
    call = subject.call(cell, model, x)
    peak = memory.peak(call, device=cell.device, forget=subject.forget(model, x))
    found: Metrics = {"memory_peak_bytes": peak.peak_bytes, "memory_reserved_bytes": peak.reserved_bytes}
    if cell.mode is Mode.TRAIN:
        saved = memory.saved_for_backward(lambda: model(x), exclude=[x, *model.parameters(), *model.buffers()])
        found["memory_saved_bytes"] = saved // subject.layers_per_figure(cell)
    return found


def train_proxy(cell: Cell, settings: Settings, enter: Enter, progress: Callable[[float], None]) -> Metrics:
    """Train the backbone, sized for the data, with a cell's mechanism, and return how well it learned."""
    enter("loading")
    mechanism = discover().find(cell.mechanism).load()
    data = datasets.load(cell.dataset, image_size=(cell.height, cell.width))
    enter("training")
    found = accuracy.train(
        lambda site: mechanism(site, **cell.options),
        data,
        seeds=range(settings.seed, settings.seed + cell.seeds),
        epochs=cell.epochs or None,
        device=torch.device(cell.device),
        progress=lambda done, total: progress(done / total),
    )
    return found.to_metrics()


def _refuse_what_will_not_fit(
    cell: Cell, mechanism: type[Mechanism], settings: Settings, learn: Learn, held_bytes: int
) -> int:
    foreseen = foresee.foresee(
        lambda: (subject.build(cell, mechanism).to(subject.DTYPES[cell.dtype]), (subject.example(cell),)),
        mode=cell.mode,
        device=cell.device,
    )
    needed = foreseen.total_bytes
    learn("foreseeing", {"memory_estimate_bytes": foreseen.peak_bytes})
    limit, whose = settings.memory_limit_bytes, "--memory-limit"
    if limit is None:
        limit, whose = _free_bytes(cell.device), f"what {cell.device} has free"
    if limit is not None and held_bytes + needed > limit:
        raise Unmeasurable(
            Status.OUT_OF_MEMORY,
            f"would need {_gib(needed)} and the cells beside it {_gib(held_bytes)}; {whose} is {_gib(limit)}; "
            "not started",
        )
    return foreseen.parameters_bytes


def _free_bytes(device: str) -> int | None:
    if device == "cpu":
        return machine.available_memory_bytes()
    return torch.cuda.mem_get_info(torch.device(device))[0]


def _compiled(cell: Cell, model: nn.Module, x: Tensor, learn: Learn) -> subject.Call:
    compiled: nn.Module = torch.compile(model)  # type: ignore[assignment]
    call = subject.call(cell, compiled, x)
    started = time.perf_counter()
    call()
    learn("compiling", {"compile_s": time.perf_counter() - started})
    return call


def _moved(x: Tensor, device: torch.device) -> Tensor:
    return x.detach().to(device).requires_grad_(x.requires_grad)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
