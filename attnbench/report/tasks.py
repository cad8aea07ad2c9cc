"""What mechanisms learned of tasks, as a page: in words who holds how far and why no further, then the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.accuracy.tasks.curve import Curve, CurvePoint
from attnbench.accuracy.tasks.table import AskedTask, read
from attnbench.record import Record, Status
from attnbench.report import naming
from attnbench.report.page.blocks import (
    Align,
    Block,
    Code,
    Column,
    Heading,
    Listing,
    Page,
    Paragraph,
    Picture,
    Piece,
    Table,
    Tone,
    Words,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """What one mechanism learned of a task."""

    name: str
    curve: Curve
    holds_to: int
    could_to: int
    """How far its reach allows it to hold; 0 for nowhere."""
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPart:
    """A task with all who were to learn it."""

    asked: AskedTask
    learners: tuple[Learner, ...]
    failures: tuple[str, ...]
    """Who has no figures, and why."""


def part(dataset: str, records: Sequence[Record]) -> TaskPart:
    """Return what rows of one task say."""
    asked = read(dataset)
    names = naming.names([record.cell for record in records])
    learners, failures = [], []
    for record in records:
        curve, most = (record.metrics.get(name) for name in ("accuracy_curve", "accuracy_ceiling"))
        name = names[record.cell.key].replace(f" on {dataset}", "", 1)
        if record.status is not Status.OK or not isinstance(curve, str) or not isinstance(most, str):
            failures.append(f"{name}: {record.status.value}, {record.reason}")
            continue
        learners.append(
            Learner(
                name=name,
                curve=Curve.read(curve),
                holds_to=Curve.read(curve).holds_to(asked.task.chance),
                could_to=Curve.read(most).holds_to(asked.task.chance),
                remark=str(record.metrics.get("accuracy_remark") or ""),
            )
        )
    ordered = sorted(learners, key=lambda each: (-each.holds_to, -_mean(each.curve), each.name))
    return TaskPart(asked=asked, learners=tuple(ordered), failures=tuple(failures))


def brief(parts: Sequence[TaskPart]) -> Page:
    """Return what separates whom, for a screen."""
    return tuple(block for each in parts for block in (Heading(text=each.asked.task.name), *_in_words(each)))


def page(parts: Sequence[TaskPart], *, command: str, environments: Sequence[str], pictures: Mapping[str, Path]) -> Page:
    """Return the whole page.

    Args:
        parts: the tasks.
        command: what made it.
        environments: the machines, in words.
        pictures: of tasks by their name.
    """
    return (
        Heading(text="What mechanisms learn, and from how far", level=1),
        Paragraph(
            "Tasks that are generated from a seed, learned by two layers of each mechanism: what each is, and what the "
            "figures are, is in docs/figures.md. Means over seeds in %, with a 95 % interval over seeds (Student's t)."
        ),
        Code(text=command, language="sh"),
        Listing(points=tuple(environments)),
        *(block for each in parts for block in _section(each, pictures)),
    )


def _section(found: TaskPart, pictures: Mapping[str, Path]) -> Iterator[Block]:
    task = found.asked.task
    yield Heading(text=f"{task.name}: {task.help}")
    yield from _in_words(found)
    if task.name in pictures:
        yield Picture(path=pictures[task.name], caption=f"Accuracy on {task.name}")
    yield _table(found)
    remarks = tuple(f"{each.name}: {each.remark}" for each in found.learners if each.remark)
    if remarks or found.failures:
        yield Listing(points=(*remarks, *found.failures))


def _in_words(found: TaskPart) -> Iterator[Block]:
    """Say who holds to the end, who ends where its reach does, and who before."""
    task, last = found.asked.task, found.asked.values[-1]
    whole = [each for each in found.learners if each.holds_to == last]
    short = [each for each in found.learners if each.holds_to < last]
    ended = [each for each in short if each.could_to <= each.holds_to]
    before = [each for each in short if each.could_to > each.holds_to]
    points: list[Words] = []
    if whole:
        points.append((Piece(f"To {last} {task.unit}, the farthest asked: ", Tone.STRONG), _named(whole)))
    if ended:
        points.append((Piece("As far as their reach allows, and no farther: ", Tone.STRONG), _named(ended, to=True)))
    if before:
        points.append((Piece("Less far than their reach allows: ", Tone.STRONG), _named(before, to=True, could=True)))
    if points:
        yield Listing(points=tuple(points))
    if found.failures:
        yield Paragraph(Piece(f"Without figures: {'; '.join(found.failures)}", Tone.BAD))


def _named(learners: Sequence[Learner], *, to: bool = False, could: bool = False) -> str:
    def said(each: Learner) -> str:
        if not to:
            return each.name
        return f"{each.name} (to {each.holds_to}{f' of {each.could_to}' if could else ''})"

    return ", ".join(map(said, learners))


def _table(found: TaskPart) -> Table:
    values = found.asked.values
    headings = (found.asked.task.axis, *map(str, values), "holds to", "its reach allows")
    columns = tuple(
        Column(heading=each, align=Align.RIGHT if place else Align.LEFT) for place, each in enumerate(headings)
    )
    return Table(columns=columns, rows=tuple(_row(each, values) for each in found.learners))


def _row(learner: Learner, values: Sequence[int]) -> tuple[str, ...]:
    points = {point.value: point for point in learner.curve.points()}
    shares = (_share(points[value]) if value in points else "" for value in values)
    return (learner.name, *shares, str(learner.holds_to), str(learner.could_to))


def _share(point: CurvePoint) -> str:
    if point.low is None or point.high is None:
        return f"{100 * point.mean:.1f}"
    return f"{100 * point.mean:.1f} [{100 * point.low:.1f}, {100 * point.high:.1f}]"


def _mean(curve: Curve) -> float:
    points = [point.mean for point in curve.points()]
    return sum(points) / max(1, len(points))
