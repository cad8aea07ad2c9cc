"""One folder of several runs: every part of each is copied, told apart by where it came from. No torch."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from attnbench import files
from attnbench.errors import StoreError, UsageError
from attnbench.store import asked, parts, records
from attnbench.store.asked import Asked

_MADE_ANEW = frozenset(
    {"records.csv", "crossovers.csv", "report.md", "report.html", "tables.tex", "plots", "figures", asked.ASKED}
) | {parts.WORKERS, parts.PLANS, "leases", "writing.lease"}
"""What a report makes of the rows, what is said of the whole, and who was at work: no part of a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRuns:
    """What came of merging."""

    rows: int
    """That count."""
    repeated: int
    """Rows of the same cell in the same environment beside one that counts; they are kept."""
    environments: int
    left_out: tuple[str, ...]
    """Links and what else is no file: nothing of somebody else's is copied through them."""


def merge(runs: Sequence[Path], out: Path) -> MergedRuns:
    """Make one folder of several runs. It is there whole or not at all.

    Args:
        runs: folders of runs; they are left as they are.
        out: the folder to make.

    Raises:
        UsageError: a run is given twice, or the folder is there already.
        StoreError: a run cannot be read, or the folder not written.
    """
    places = [run.resolve() for run in runs]
    mistakes = [f"{run}: given twice; give it once" for run in sorted({run for run in places if places.count(run) > 1})]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        mistakes.append(f"--out {out}: it is there already; give a folder that is not")
    if mistakes:
        raise UsageError(*mistakes)
    rows = sum(
        len(records.read(part)) for run in runs for part in _parts(run)
    )  # nothing is copied of what cannot be read
    beside = out.with_name(f"{out.name}.{secrets.token_hex(4)}.merging")
    try:
        left_out = _copy(dict(zip(_names(runs), runs, strict=True)), beside)
        if out.exists():
            out.rmdir()
        beside.replace(out)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        said = files.reason_of(error)
        raise StoreError(f"cannot write {out}: {said}; give another folder with --out") from None
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    kept = records.read(out)
    environments = {record.environment.get("environment_id") for record in kept} - {None}
    return MergedRuns(
        rows=len(kept), repeated=rows - len(kept), environments=len(environments), left_out=tuple(left_out)
    )


def _parts(run: Path) -> list[Path]:
    return parts.of(run) or [run]


def _names(runs: Sequence[Path]) -> list[str]:
    """Return what each run is called: its folder's name, with a number where another has that."""
    found: list[str] = []
    for run in runs:
        name = run.resolve().name or "run"
        number = next(each for each in range(1, len(runs) + 1) if _numbered(name, each) not in found)
        found.append(_numbered(name, number))
    return found


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number}" if number > 1 else name


def _copy(runs: dict[str, Path], out: Path) -> list[str]:
    """Copy all parts of some runs, by what the runs are called, and return what was left out."""
    left_out, together = list[str](), dict[str, dict[str, str]]()
    (out / parts.WORKERS).mkdir(parents=True)
    for name, run in runs.items():
        for part in _parts(run):
            target = _free(out / parts.WORKERS / (name if part == run else part.name), name)
            target.mkdir()
            for path in sorted(part.iterdir()):
                if path.name not in _MADE_ANEW:
                    left_out += _copied(path, target / path.name)
            parts.name_source(target, "/".join(filter(None, (name, parts.source(part)))))
        for plan in sorted((run / parts.PLANS).glob("*.json")):
            (out / parts.PLANS).mkdir(exist_ok=True)
            left_out += _copied(plan, out / parts.PLANS / plan.name)
        for command, cells in asked.read(run).by_command.items():
            together.setdefault(command, {}).update(cells)
    if together:
        files.put(out / asked.ASKED, json.dumps(asdict(Asked(by_command=together)), indent=1) + "\n", sync=True)
    return left_out


def _free(target: Path, run: str) -> Path:
    """Return a name for a part that no other has: worker folders of two runs may be called the same."""
    names = (target, target.with_name(f"{run}-{target.name}"))
    return next(
        (each for each in names if not each.exists()), target.with_name(f"{target.name}-{secrets.token_hex(4)}")
    )


def _copied(path: Path, target: Path) -> Iterable[str]:
    """Copy a file or a folder, and yield what is neither: nothing is followed out of a run."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        yield str(path)
    elif path.is_file():
        shutil.copyfile(path, target)
    else:
        target.mkdir()
        for below in sorted(path.iterdir()):
            yield from _copied(below, target / below.name)
