"""Slurm, through submitit: the workers of a kind are a job array, each with a machine to itself.

Which jobs there are is asked of ``squeue``, which answers where nobody keeps accounts, too. Jobs go by their name,
which follows from folder and kind, so that whoever asks next finds those of an earlier command.
"""

from __future__ import annotations

import getpass
import math
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnbench.child import ProgramError, run_program
from attnbench.child.foreground import Foreground
from attnbench.engines.engine import Engine, WorkerCount, WorkerOrder
from attnbench.errors import EngineError, NoMachineError
from attnbench.wording import number_of

if TYPE_CHECKING:
    from submitit import SlurmExecutor
    from submitit.helpers import DelayedSubmission

_NO_MACHINE = (
    "Invalid feature specification",
    "Invalid generic resource",
    "Requested node configuration is not available",
    "Node count specification invalid",
    "More processors requested than permitted",
)
"""What sbatch says of a kind of machine that it does not have."""
_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "PREEMPTED"}
_OVER = {"COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
_REQUEUES = 100
"""How often a job that is out of time goes on in the queue."""
_WARNED_S = 90
"""Before its time is over, a job is told."""
_ASK_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions:
    """What a profile may say of jobs, by the names of sbatch's options as far as it has them."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    reservation: str = ""
    constraint: str = ""
    gres: str = ""
    nodelist: str = ""
    exclude: str = ""
    mem: str = ""
    """Main memory of a job. All of the machine's, where it has the machine to itself."""
    cpus: int = 0
    """Cores of a job; as many as the cells' threads if 0."""
    exclusive: bool = True
    """Whether a job has its machine to itself."""
    max_hours: float = 0.0
    """Most time that a job may ask for; 0 for as much as it needs."""
    setup: tuple[str, ...] = ()
    """Lines of shell before the worker, such as ``module load cuda``."""
    more: Mapping[str, str | int | bool] = field(default_factory=dict)
    """Other options of sbatch, by their long names without the dashes."""


class SlurmEngine(Engine):
    """Workers as jobs of Slurm."""

    name = "slurm"
    extra = "attnbench[slurm]"
    needs = ("submitit",)
    Options = SlurmOptions
    poll_s = 10.0

    def open(self) -> None:
        """Look whether Slurm answers.

        Raises:
            EngineError: it does not.
        """
        _asked(["squeue", "--version"], otherwise="run it where sbatch is, such as on a login node")

    def count(self, order: WorkerOrder) -> WorkerCount:
        """Return how many jobs run and wait, and why those wait.

        Raises:
            EngineError: squeue does not answer.
        """
        asked = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", f"--name={order.name}"]
        lines = _asked([*asked, "--format=%T|%r"]).splitlines()
        jobs = [(state, why) for state, _, why in (line.strip().partition("|") for line in lines if line.strip())]
        waiting = [why for state, why in jobs if state in _WAITING]
        said = Counter(why for why in waiting if why not in {"None", ""}).most_common(1)
        running = sum(state not in {*_WAITING, *_OVER} for state, _ in jobs)
        return WorkerCount(running=running, waiting=len(waiting), why=said[0][0] if said else "")

    def start(self, order: WorkerOrder, workers: int) -> str:
        """Submit workers: a job, or an array of several.

        Raises:
            NoMachineError: Slurm has no machine of that kind.
            EngineError: it does not take the job for another reason.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError  # noqa: PLC0415

        executor = self._executor(order, workers)
        try:
            jobs = executor.map_array(SlurmWorker(arguments=order.arguments), range(workers))
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            said = " ".join(str(error).split())
            why = f"sbatch says of {order.kind or 'a machine'}: {said.rpartition('error: ')[2] or said}"
            raise (NoMachineError if any(each in said for each in _NO_MACHINE) else EngineError)(why) from None
        number = jobs[0].job_id.partition("_")[0]
        short = self._minutes(order) * 60 < order.longest_s + _WARNED_S
        said = f"; max_hours is less than the longest group is expected to take, {order.longest_s / 3600:.2g}"
        return f"job {number}, {number_of(workers, 'worker')}{said if short else ''}"

    def shown(self, order: WorkerOrder, workers: int) -> str:
        """Return what sbatch would be given, and how often."""
        from submitit.slurm.slurm import _make_sbatch_string  # noqa: PLC0415 - what its executor writes

        several = {"map_count": workers} if workers > 1 else {}
        command = f"{_python()} -u -m submitit.core._submit {shlex.quote(str(self.logs))}"
        text = _make_sbatch_string(command, self.logs, **self._parameters(order, workers), **several)
        return f"{text}# which runs: {shlex.join(['attnbench', *order.arguments])}"

    def withdraw(self, order: WorkerOrder) -> bool:
        """Cancel the jobs that wait.

        Raises:
            EngineError: scancel fails.
        """
        _asked(["scancel", f"--user={getpass.getuser()}", f"--name={order.name}", "--state=PENDING"])
        return True

    @property
    def farewell(self) -> str:
        """What becomes of the jobs."""
        return "its jobs go on; the same command watches them again, and scancel ends them"

    def _executor(self, order: WorkerOrder, workers: int) -> SlurmExecutor:
        from submitit import SlurmExecutor  # noqa: PLC0415 - an extra

        executor = SlurmExecutor(self.logs, max_num_timeout=_REQUEUES, python=_python())
        executor.update_parameters(**self._parameters(order, workers))
        return executor

    def _parameters(self, order: WorkerOrder, workers: int) -> dict[str, Any]:
        """Return what submitit is told of the jobs of an order."""
        asked: SlurmOptions = order.options
        said = {
            "partition": asked.partition,
            "account": asked.account,
            "qos": asked.qos,
            "constraint": asked.constraint if order.described else asked.constraint or order.kind,
            "gres": asked.gres if order.described or not order.on_accelerator else asked.gres or "gpu:1",
            "nodelist": asked.nodelist,
            "exclude": asked.exclude,
            "mem": asked.mem or ("0" if asked.exclusive else ""),
            "exclusive": asked.exclusive,
        }
        more = {"requeue": True, **({"reservation": asked.reservation} if asked.reservation else {}), **asked.more}
        return {
            **{name: value for name, value in said.items() if value},
            "job_name": order.name,
            "time": self._minutes(order),
            "cpus_per_task": asked.cpus or order.threads,
            "array_parallelism": workers,
            "signal_delay_s": _WARNED_S,
            "setup": list(asked.setup) or None,
            "additional_parameters": {name: value for name, value in more.items() if value is not False},
            "stderr_to_stdout": True,
        }

    def _minutes(self, order: WorkerOrder) -> int:
        asked: SlurmOptions = order.options
        wanted = order.seconds + _WARNED_S
        return math.ceil((min(wanted, asked.max_hours * 3600) if asked.max_hours > 0 else wanted) / 60)


@dataclass(slots=True)
class SlurmWorker:
    """What a job does: it starts a worker, and waits for it."""

    arguments: tuple[str, ...]

    def __call__(self, _: int) -> None:
        """Run the worker to its end.

        Raises:
            EngineError: it ended with a status of its own.
        """
        worker = _at_work.setdefault("worker", Foreground(self.arguments))
        status = worker.wait()
        if status:
            raise EngineError(f"attnbench {shlex.join(self.arguments)} ended with status {status}")

    def checkpoint(self, number: int) -> DelayedSubmission:
        """Let go of what the worker has in hand, and go on in the queue: time is up, or the machine is wanted."""
        from submitit.helpers import DelayedSubmission  # noqa: PLC0415

        if "worker" in _at_work:
            _at_work["worker"].stop()
        return DelayedSubmission(SlurmWorker(self.arguments), number)


_at_work: dict[str, Foreground] = {}
"""The worker of this process, where it is a job."""


def _python() -> str:
    """Return how Python is started, whose path has no folder that a job happens to be started in."""
    return f"{shlex.quote(sys.executable)} -P"


def _asked(command: list[str], *, otherwise: str = "") -> str:
    """Return what a command of Slurm's says.

    Raises:
        EngineError: it fails, or is not there.
    """
    try:
        return run_program(command, timeout_s=_ASK_S)
    except (OSError, ProgramError) as error:
        said = str(error) if str(error).startswith(command[0]) else f"{command[0]}: {error}"
        said = f"no {command[0]} here" if isinstance(error, FileNotFoundError) else said
        raise EngineError("; ".join(filter(None, (said, otherwise)))) from None
