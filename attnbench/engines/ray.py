"""Ray: the workers of a kind are tasks, one for each of its machines, and end with the command that started them.

A machine is of a kind if it has the resources that the profile names, or one that is called as the kind is. A task has
all cores of its machine, so that none of Ray's runs beside it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnbench.child.foreground import Foreground
from attnbench.engines.engine import Engine, WorkerCount, WorkerOrder
from attnbench.errors import EngineError, NoMachineError
from attnbench.wording import number_of

_LEAST = 0.001
"""Of a resource that says what a machine is: so little that it runs out for nobody."""
_CORES, _ACCELERATORS = "CPU", "GPU"
_OF_THE_SYSTEM = ("node:", "object_store_memory", "memory")
_VARIABLES = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""A task sees the accelerators that whoever works on the machine by hand sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """What a profile may say of machines of Ray's."""

    address: str = "auto"
    """Of the cluster, as ``ray.init`` takes it."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """What a machine of the kind has, at least; as ``ray start --resources`` named it, or Ray itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A worker that Ray was given."""

    order: str
    node: str
    ref: Any
    log: Path
    """Made by the task when it begins."""


class RayEngine(Engine):
    """Workers as tasks of Ray."""

    name = "ray"
    extra = "attnbench[ray]"
    needs = ("ray",)
    Options = RayOptions
    poll_s = 1.0

    def __init__(self, folder: Path, options: Any) -> None:  # noqa: ANN401
        super().__init__(folder, options)
        self._tasks: list[_Task] = []
        self._started = 0
        self.lost: list[str] = []
        """Why workers ended that did not end by themselves, the last one last."""

    def open(self) -> None:
        """Connect to the cluster.

        Raises:
            EngineError: it is not there, or is of another version.
        """
        import ray  # noqa: PLC0415 - an extra

        asked: RayOptions = self.options
        try:
            with _quiet():
                ray.init(
                    address=asked.address,
                    log_to_driver=False,
                    logging_level="ERROR",
                    runtime_env={"env_vars": _VARIABLES},
                )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            said = " ".join(str(error).split())[:300]
            raise EngineError(
                f"no cluster of Ray at {asked.address}: {said}; start one with ray start --head, or give its address "
                "in the profile, [ray]"
            ) from None

    def close(self) -> None:
        """Leave the cluster, and end the workers."""
        import ray  # noqa: PLC0415

        if ray.is_initialized():
            for task in self._tasks:
                with contextlib.suppress(Exception):  # whatever it is, the task ends with this process
                    ray.cancel(task.ref, force=False)
            ray.shutdown()

    def count(self, order: WorkerOrder) -> WorkerCount:
        """Return how many tasks have begun and how many have not."""
        self._bury()
        mine = [task for task in self._tasks if task.order == order.name]
        running = sum(task.log.exists() for task in mine)
        return WorkerCount(running=running, waiting=len(mine) - running)

    def start(self, order: WorkerOrder, workers: int) -> str:
        """Give Ray a task for each machine of the kind that has none yet.

        Raises:
            NoMachineError: no machine of the cluster is of that kind.
        """
        import ray  # noqa: PLC0415
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(_CORES, 0) >= 1]
        wanted = self._wanted(order)
        fit = [node for node in nodes if all(node["Resources"].get(key, 0) >= least for key, least in wanted.items())]
        if not fit:
            raise NoMachineError(self._lacking(order, nodes))
        mine = {task.node for task in self._tasks if task.order == order.name}
        free = [node for node in fit if node["NodeID"] not in mine][:workers]
        self.logs.mkdir(parents=True, exist_ok=True)
        for node in free:
            self._started += 1
            log = self.logs / f"{os.getpid()}-{self._started}-{node['NodeID'][:8]}.log"
            task = ray.remote(_work).options(
                name=order.name,
                num_cpus=node["Resources"][_CORES],
                num_gpus=node["Resources"].get(_ACCELERATORS, 0) if order.on_accelerator else 0,
                max_retries=0,  # what is left is known to the folder alone
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False),
            )
            with _quiet():
                ref = task.remote(order.arguments, str(log), str(Path.cwd()))
            self._tasks.append(_Task(order=order.name, node=node["NodeID"], ref=ref, log=log))
        return number_of(len(free), "task") if free else ""

    def shown(self, order: WorkerOrder, workers: int) -> str:
        """Return what tasks are asked for."""
        asked: RayOptions = self.options
        needs = ", ".join(f"{name} >= {least:g}" for name, least in self._wanted(order).items()) or "any"
        gpus = ", all its GPUs" if order.on_accelerator else ""
        return (
            f"cluster at {asked.address}: at most {number_of(workers, 'task')}, one a machine with all "
            f"its cores{gpus}; machines with {needs}\n{shlex.join(['attnbench', *order.arguments])}"
        )

    @staticmethod
    def _wanted(order: WorkerOrder) -> Mapping[str, float]:
        """Return what a machine must have."""
        asked: RayOptions = order.options
        named = {order.kind: _LEAST} if order.kind and not order.described else {}
        return {
            _CORES: order.threads,
            **({_ACCELERATORS: 1.0} if order.on_accelerator else {}),
            **named,
            **asked.resources,
        }

    @staticmethod
    def _lacking(order: WorkerOrder, nodes: list[dict[str, Any]]) -> str:
        there = {
            f"{name} {amount:g}"
            for node in nodes
            for name, amount in node["Resources"].items()
            if not name.startswith(_OF_THE_SYSTEM)
        }
        wanted = ", ".join(f"{name} {least:g}" for name, least in RayEngine._wanted(order).items())
        return f"none of the {len(nodes)} machines of the cluster has {wanted}; they have {', '.join(sorted(there))}"

    def _bury(self) -> None:
        """Forget tasks that have ended, and note why those did that were not at their end."""
        import ray  # noqa: PLC0415

        if not self._tasks:
            return
        ended, _ = ray.wait([task.ref for task in self._tasks], num_returns=len(self._tasks), timeout=0)
        for task in [task for task in self._tasks if task.ref in ended]:
            self._tasks.remove(task)
            try:
                ray.get(task.ref)
            except Exception as error:  # whatever the task raised, or became of its machine
                self.lost.append(f"{task.node[:8]}: {' '.join(str(error).split())[:300]}")


def _work(arguments: tuple[str, ...], log: str, folder: str) -> None:
    """On a machine of Ray's: run a worker to its end.

    Raises:
        EngineError: it ended with a status of its own.
    """
    with contextlib.suppress(OSError):  # local files are named from there, if it is seen from here
        os.chdir(folder)
    status = Foreground(arguments, log=Path(log), environment=_variables()).wait()
    if status:
        raise EngineError(f"attnbench {shlex.join(arguments)} ended with status {status}; {log} says why")


def _variables() -> dict[str, str]:
    """Return this process's variables without those that Ray has set for it alone."""
    return {name: value for name, value in os.environ.items() if name not in {"OMP_NUM_THREADS", *_VARIABLES}}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within, Ray warns of nothing: its warnings are about versions to come."""
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
