"""Engines by name, what each would be given, and what is said where one cannot be had."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import brought
import pytest
from click.testing import CliRunner

from attnbench import engines
from attnbench.cli.main import attnbench
from attnbench.devices import gpus, machine
from attnbench.engines import driving, local
from attnbench.engines.engine import Engine, WorkerOrder
from attnbench.engines.local import LocalEngine
from attnbench.engines.ray import RayEngine, RayOptions
from attnbench.engines.site import SiteProfile
from attnbench.engines.slurm import SlurmEngine, SlurmOptions
from attnbench.errors import NoMachineError, UsageError

ORDER = WorkerOrder(
    folder=Path("/shared/run"),
    kind="h100",
    called="h100",
    told=True,
    device="cuda:0",
    threads=8,
    seconds=7000.0,
    longest_s=500.0,
    options=SlurmOptions(),
)


def sbatch(options: SlurmOptions, *, workers: int = 1, **order: Any) -> set[str]:
    pytest.importorskip("submitit")
    engine = SlurmEngine(ORDER.folder, SlurmOptions())
    return {*engine.shown(replace(ORDER, options=options, **order), workers).splitlines()}


def test_engines_are_found_by_name_and_other_packages_bring_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.names() == ("local", "ray", "slurm")
    with pytest.raises(UsageError, match=r"--on 'slrm': did you mean slurm\?"):
        engines.of("slrm")
    theirs = EntryPoint(name="theirs", value="attnbench.engines.local:LocalEngine", group=engines.GROUP)
    brought.bring(monkeypatch, theirs)
    assert engines.of("theirs") is LocalEngine


@pytest.mark.parametrize("engine", [RayEngine, SlurmEngine])
def test_what_is_not_installed_is_said_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, engine: type[Engine]
) -> None:
    monkeypatch.setattr(engine, "needs", ("no_such_module",))
    assert engine.why_missing() == f"no_such_module not installed: pip install 'attnbench[{engine.name}]'"
    done = CliRunner().invoke(attnbench, ["run", "--mechanisms", "qna", "--on", engine.name])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == f"--on {engine.name}: {engine.why_missing()}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--machines", "2", "--dry-run"], "--machines does nothing without --on\n--dry-run does nothing without --on"),
        (["--on", "local", "--fresh"], "--fresh does nothing with --on"),
        (["--on", "slrm"], "--on 'slrm': did you mean slurm?"),
    ],
)
def test_options_that_do_nothing_are_refused(words: list[str], said: str) -> None:
    done = CliRunner().invoke(attnbench, ["run", "--mechanisms", "qna", *words])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(said)


def test_a_job_asks_for_the_machine_to_itself_with_time_to_spare_and_is_put_back_into_the_queue() -> None:
    assert {
        "#SBATCH --exclusive",
        "#SBATCH --mem=0",
        "#SBATCH --requeue",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --constraint=h100",
        "#SBATCH --gres=gpu:1",
        "#SBATCH --time=119",
        "# which runs: attnbench work /shared/run --kind h100",
    } <= sbatch(SlurmOptions())
    assert not any("array" in line for line in sbatch(SlurmOptions()))


def test_several_workers_are_one_array() -> None:
    assert "#SBATCH --array=0-3%4" in sbatch(SlurmOptions(), workers=4)


def test_a_profile_says_how_slurm_is_asked_for_a_kind() -> None:
    options = SlurmOptions(
        partition="gpu",
        account="vision",
        gres="gpu:h100:1",
        exclusive=False,
        max_hours=1.0,
        setup=("module load cuda",),
        more={"comment": "x y", "nice": 5, "requeue": False},
    )
    lines = sbatch(options, described=True)
    assert {
        "#SBATCH --partition=gpu",
        "#SBATCH --account=vision",
        "#SBATCH --gres=gpu:h100:1",
        "#SBATCH --time=60",
        "#SBATCH --comment='x y'",
        "#SBATCH --nice=5",
        "module load cuda",
    } <= lines
    assert not {"#SBATCH --exclusive", "#SBATCH --requeue", "#SBATCH --mem=0", "#SBATCH --constraint=h100"} & lines


def test_a_task_of_ray_is_one_a_machine_of_the_kind() -> None:
    engine = RayEngine(ORDER.folder, RayOptions(address="there:6379"))
    shown = engine.shown(replace(ORDER, options=RayOptions()), 2)
    assert shown.startswith("cluster at there:6379: at most 2 tasks, one a machine with all its cores, all its GPUs; ")
    assert shown.endswith("machines with CPU >= 8, GPU >= 1, h100 >= 0.001\nattnbench work /shared/run --kind h100")
    described = replace(ORDER, options=RayOptions(resources={"rare": 1}), described=True, device="cpu")
    assert "machines with CPU >= 8, rare >= 1\n" in engine.shown(described, 1)


def test_this_machine_takes_no_worker_for_another_kind_and_is_told_none(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine.cpu()
    monkeypatch.setattr(machine, "cpu", lambda: replace(here, model="AMD EPYC 7B13"))
    monkeypatch.setattr(gpus, "names", lambda: ())
    monkeypatch.setattr(local, "Foreground", _NoProcess)
    engine = LocalEngine(ORDER.folder, LocalEngine.Options())
    with pytest.raises(NoMachineError, match="this one is AMD EPYC 7B13"):
        engine.start(ORDER, 1)
    order = replace(ORDER, kind="epyc", called="epyc", told=LocalEngine.chooses)
    assert engine.start(order, 3) == "a worker here"
    assert (engine.start(order, 1), engine.count(order).running) == ("", 1)
    assert order.arguments == ("work", "/shared/run")
    engine.close()
    assert engine.count(order).all == 0
    assert driving.workforces([], engine=engine, site=SiteProfile(), machines=None) == []


class _NoProcess:
    """In the place of a worker."""

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def stop(self) -> None:
        self.status = 130
