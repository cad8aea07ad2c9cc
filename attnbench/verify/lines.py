"""What a line of ``records.jsonl`` says of itself: checksum, key, status, environment, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnbench.accuracy.tasks.curve import Curve
from attnbench.devices import identity
from attnbench.metrics import METRICS
from attnbench.probes.interval import mean_interval
from attnbench.record import CHECKSUM, SEALED, Status, Task, checksum
from attnbench.verify.finding import Place, Tally
from attnbench.verify.kept import KeptLine

_BESIDE_METRICS = {"is_baseline", "epochs"}
"""What stands among the metrics of a record and is none."""


def check(line: KeptLine, tally: Tally) -> None:
    """Hold one line against what it says of itself."""
    record, place = line.record, line.place
    if line.format >= SEALED:
        tally.compare(place, "checksum", kept=line.content.get(CHECKSUM), found=checksum(line.content))
    else:
        tally.skip("checksums of lines and samples, settings, limits of a row", f"format {line.format} has none")
    tally.compare(place, "cell_key", kept=line.content.get("cell_key"), found=record.cell.key)
    names = record.metrics.keys() - METRICS.keys() - _BESIDE_METRICS
    tally.demand(not names, place, "metrics", kept=", ".join(sorted(names)), found="names of the table of metrics")
    _status(line, tally)
    _environment(line, tally)
    if record.cell.task is Task.ACCURACY:
        _accuracy(record.metrics, place, tally)
    else:
        _counts(record.metrics, place, tally)


def _status(line: KeptLine, tally: Tally) -> None:
    record, place = line.record, line.place
    ok = record.status is Status.OK
    if ok:
        tally.demand(not record.reason, place, "reason", kept=record.reason, found="none where the status is ok")
        tally.demand(record.environment, place, "environment", kept=None, found="one, where the status is ok")
    else:
        tally.demand(record.reason, place, "reason", kept=None, found=f"why the status is {record.status.value}")
    demanded = ok and record.cell.task is Task.COST
    holds = line.timed if demanded else not (ok and line.timed)
    tally.demand(holds, place, "status", kept=record.status.value, found=f"another, of a {record.cell.task.value} cell")


def _environment(line: KeptLine, tally: Tally) -> None:
    record, place = line.record, line.place
    kept = record.environment
    if not kept:
        return
    tally.compare(place, "environment_id", kept=kept.get("environment_id"), found=identity.environment_id(kept))
    tally.compare(place, "environment.hardware", kept=kept.get("hardware"), found=identity.hardware(kept))
    software, flags, code = (_part(kept, name) for name in ("software", "flags", "code"))
    tally.compare(place, "environment.torch_version", kept=kept.get("torch_version"), found=software.get("torch"))
    tally.compare(place, "environment.flags.threads", kept=flags.get("threads"), found=record.cell.threads)
    version = code.get("attnbench")
    tally.compare(place, "attnbench_version", kept=record.attnbench_version, found=version)


def _part(environment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = environment.get(name)
    return part if isinstance(part, Mapping) else {}


def _counts(metrics: Mapping[str, Any], place: Place, tally: Tally) -> None:
    macs = metrics.get("macs")
    if not isinstance(macs, int):
        return
    # A stack's figures are divided by its layers: twice the quotient may be one less than the quotient of the double.
    rounded = metrics.get("flops") in {2 * macs, 2 * macs + 1}
    tally.demand(rounded, place, "flops", kept=metrics.get("flops"), found=2 * macs)
    known = [metrics.get(name) for name in ("macs_closed", "macs_torch")]
    said = " or ".join(str(each) for each in dict.fromkeys(known))
    tally.demand(macs in known, place, "macs", kept=macs, found=f"the closed form's or torch's: {said}")


def _accuracy(metrics: Mapping[str, Any], place: Place, tally: Tally) -> None:
    """Work out means of some seeds and their intervals again, to the digits that were kept of each seed."""
    for name, metric in METRICS.items():
        per_seed = metrics.get(metric.per_seed)
        if name not in metrics and "accuracy_seeds" not in metrics:
            continue  # a training that was ended has the seeds until then, and no mean of them
        if isinstance(per_seed, str):
            seeds = [float(each) for each in per_seed.split()]
            tally.compare(place, "accuracy_seeds", kept=metrics.get("accuracy_seeds"), found=len(seeds))
            _mean(metrics, name, seeds, place, tally)
        elif metric.per_seed and name in metrics:
            tally.skip("accuracies of checkpoints", "what the network said of each image is not kept")
    curve = metrics.get("accuracy_per_seed")
    if isinstance(curve, str):
        _curve(metrics, [float(each) for each in curve.split()], place, tally)


def _mean(metrics: Mapping[str, Any], name: str, seeds: Sequence[float], place: Place, tally: Tally) -> None:
    _near(metrics.get(name), sum(seeds) / len(seeds), place, name, tally)
    if len(seeds) > 1:
        found, (low, high) = mean_interval(seeds), METRICS[name].ends
        _near(metrics.get(low), max(0.0, found.low), place, low, tally)
        _near(metrics.get(high), min(1.0, found.high), place, high, tally)


def _curve(metrics: Mapping[str, Any], seeds: Sequence[float], place: Place, tally: Tally) -> None:
    """Work out each seed's mean over the axis of a task again, and how far it holds."""
    kept, chance = metrics.get("accuracy_curve"), metrics.get("accuracy_chance")
    if not isinstance(kept, str) or not isinstance(chance, float):
        return
    try:
        curve = Curve.read(kept)
    except ValueError as error:
        tally.demand(False, place, "accuracy_curve", kept=kept, found=str(error))
        return
    means = [curve.of_seed(seed, tuple(curve.shares)) for seed in range(curve.seeds)]
    whole = [mean for mean in means if mean is not None]
    holds = len(whole) == len(seeds) and all(abs(a - b) <= 1e-5 for a, b in zip(whole, seeds, strict=True))
    said = " ".join(f"{mean:.6g}" for mean in whole)
    tally.demand(holds, place, "accuracy_per_seed", kept=metrics["accuracy_per_seed"], found=said)
    found = curve.holds_to(chance)
    tally.compare(place, "accuracy_holds_to", kept=metrics.get("accuracy_holds_to"), found=found)


def _near(kept: object, found: float, place: Place, figure: str, tally: Tally) -> None:
    holds = isinstance(kept, int | float) and abs(kept - found) <= 1e-5
    tally.demand(holds, place, figure, kept=kept, found=found)
