"""Whether a call takes as long as its work: products from one to 160, with cold and with warm caches. No attnbench.

    python tests/benchmarks/proportional.py

Prints the lower quartile of the time of a call, of a product in it, and the ratios of times that stand for 5, 10 and
20 % of work added to 80 products, which ``gate.py`` adds.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

import torch

BASE = 80
COUNTS = (1, 2, 5, 10, 20, 40, BASE, 84, 88, 96, 160)
_ROUNDS = 300
_OTHER = torch.ones(64 * 2**20 // 4)


def products(x: torch.Tensor, weight: torch.Tensor, count: int) -> torch.Tensor:
    """Multiply so many times."""
    for _ in range(count):
        x = x @ weight
    return x


def timed_us(before: Callable[[torch.Tensor], object], weight: torch.Tensor) -> dict[int, float]:
    """Return the lower quartile of the time of a call by its number of products, all timed in turn."""
    times: dict[int, list[int]] = {count: [] for count in COUNTS}
    for _ in range(_ROUNDS):
        for count in random.sample(COUNTS, len(COUNTS)):
            x = torch.randn(1, 4, 4, len(weight))
            before(x)
            began = time.perf_counter_ns()
            products(x, weight, count)
            times[count].append(time.perf_counter_ns() - began)
    return {count: sorted(each)[_ROUNDS // 4] / 1e3 for count, each in times.items()}


@torch.inference_mode()
def _main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weight = torch.randn(192, 192) / 192**0.5
    states = {"cold": lambda _: _OTHER.sum(), "warm": lambda x: products(x, weight, BASE)}
    for name, before in states.items():
        found = timed_us(before, weight)
        sys.stdout.write(f"{name} caches\n products    a call     each\n")
        sys.stdout.writelines(f"{count:9} {us:7.0f} us {us / count:5.1f} us\n" for count, us in found.items())
        ratios = (f"{count / BASE:.2f} of work takes {found[count] / found[BASE]:.4f}" for count in (BASE, 84, 88, 96))
        sys.stdout.write(f"{', '.join(ratios)}\n")


if __name__ == "__main__":
    _main()
