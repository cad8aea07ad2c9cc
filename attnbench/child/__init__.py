"""The processes that are started: children of ours, and other people's programs. No other folder starts one."""

from attnbench.child.child import ENDED, Child, late
from attnbench.child.death import Death
from attnbench.child.ear import EventTypes, Reached
from attnbench.child.forked import start_server
from attnbench.child.spawned import ProgramError, check_torch, run_program

__all__ = [
    "ENDED",
    "Child",
    "Death",
    "EventTypes",
    "ProgramError",
    "Reached",
    "check_torch",
    "late",
    "run_program",
    "start_server",
]
