"""A Slurm of two made-up nodes on this machine, in one folder: munged, slurmctld, and a slurmd for each node."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
FOUND_IN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/%n.pid
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdLogFile={folder}/%n.log
SlurmctldLogFile={folder}/slurmctld.log
MpiDefault=none
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 Features=box,epyc
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 Features=made_up,xeon Gres=gpu:made:1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1
PartitionName=first Nodes=n1,n2 MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=10
"""


def why_not() -> str:
    """Return why there can be no Slurm here; empty if there can."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=FOUND_IN)]
    return f"no {', '.join(missing)} here: apt-get install slurmctld slurmd slurm-client munge" if missing else ""


@contextlib.contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Keep a Slurm for as long as the block lasts, and give the variables by which its commands find it."""
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name, contextlib.ExitStack() as on:
        folder = Path(name)
        folder.chmod(0o755)
        for each in ("munge", "state", "spool-n1", "spool-n2"):
            (folder / each).mkdir(mode=0o755)
        key = folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        _write(folder)
        variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": FOUND_IN}
        _start(folder, on, ["munged", "--foreground", *_munge(folder)], variables, until=folder / "munge" / "socket")
        _start(folder, on, ["slurmctld", "-D"], variables)
        for node in ("n1", "n2"):
            _start(folder, on, ["slurmd", "-D", "-N", node], variables)
        _wait_for_nodes(variables)
        yield variables


def _munge(folder: Path) -> list[str]:
    within = folder / "munge"
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return ["--force", "--num-threads=2", *(f"--{option}={within / name}" for option, name in files.items())]


def _write(folder: Path) -> None:
    with contextlib.ExitStack() as held:
        opened = [held.enter_context(socket.socket()) for _ in range(3)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in opened]
    host, user = socket.gethostname().partition(".")[0], Path(f"/proc/{os.getpid()}").owner()
    text = _CONFIGURATION.format(host=host, user=user, ports=ports, folder=folder)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("NodeName=n2 Name=gpu Type=made File=/dev/null\n")
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    groups = (
        "CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n" if unified else "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"
    )
    (folder / "cgroup.conf").write_text(groups)


def _start(
    folder: Path,
    on: contextlib.ExitStack,
    command: list[str],
    variables: dict[str, str],
    *,
    until: Path | None = None,
) -> None:
    with (folder / "said.log").open("ab") as log:
        program = [shutil.which(command[0], path=FOUND_IN) or command[0], *command[1:]]
        started = subprocess.Popen(
            program, env=os.environ | variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    on.callback(_end, started)
    with _patience(f"{command[0]} does not start", folder / "said.log") as on_patience:
        while until is not None and not until.exists():
            on_patience(started.poll() is None)


def _end(started: subprocess.Popen[bytes]) -> None:
    started.send_signal(signal.SIGTERM)
    try:
        started.wait(10)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()


def _wait_for_nodes(variables: dict[str, str]) -> None:
    log = Path(variables["SLURM_CONF"]).parent / "said.log"
    with _patience("its nodes do not come up", log) as on_patience:
        while True:
            said = subprocess.run(
                ["sinfo", "-h", "-N", "-p", "all", "-o", "%T"],
                env=os.environ | variables,
                capture_output=True,
                text=True,
                check=False,
            )
            if said.stdout.split() == ["idle", "idle"]:
                return
            on_patience(True)


@contextlib.contextmanager
def _patience(what: str, log: Path) -> Iterator[Callable[[bool], None]]:
    tries = iter(range(600))

    def once_more(lives: bool) -> None:
        if not lives or next(tries, None) is None:
            raise RuntimeError(f"{what}: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)

    yield once_more
