"""The worker, in a process whose wall clock goes a year forward or back whenever it is looked at."""

import itertools
import runpy
import time

YEAR_S = 365 * 86_400


def have_it_jump() -> None:
    usual, usual_ns, jump = time.time, time.time_ns, itertools.cycle((-YEAR_S, 0, YEAR_S))
    time.time = lambda: usual() + next(jump)
    time.time_ns = lambda: usual_ns() + next(jump) * 10**9


if __name__ == "__main__":
    have_it_jump()
    runpy.run_module("attnbench.worker.main", run_name="__main__", alter_sys=True)
