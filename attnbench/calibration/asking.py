"""From what ``attnbench calibrate`` is asked for to the score of every training, in an order that is of use early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from attnbench import raised
from attnbench.accuracy.data import datasets
from attnbench.accuracy.tasks.table import BATCH, is_task
from attnbench.calibration import kept
from attnbench.calibration.published import NETWORKS, PublishedNetwork
from attnbench.calibration.training import BATCH as IMAGES
from attnbench.calibration.training import ProxyScore, learn
from attnbench.errors import DataError, UsageError, did_you_mean
from attnbench.wording import number_of

PROXIES = ("digits", "fashion-mnist", "shift:offset=4", "recall")
"""What is calibrated where nothing is named."""
FEWEST = 3
"""Networks that make a ranking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRequest:
    """What is trained, and how long."""

    proxies: tuple[str, ...] = PROXIES
    networks: tuple[str, ...] = tuple(NETWORKS)
    seeds: int = 1
    steps: int = 200

    def chosen(self) -> list[PublishedNetwork]:
        """Return the networks.

        Raises:
            UsageError: there is none of such a name, or they are too few to be ranked.
        """
        mistakes = [
            f"--networks {name}: {did_you_mean(name, NETWORKS)}" for name in self.networks if name not in NETWORKS
        ]
        if len(set(self.networks)) < FEWEST and not mistakes:
            mistakes = [f"--networks: {FEWEST} and more make a ranking, got {len(set(self.networks))}"]
        if mistakes:
            raise UsageError(*mistakes)
        return [NETWORKS[name] for name in dict.fromkeys(self.networks)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What every training came to."""

    scores: tuple[ProxyScore, ...]
    failures: tuple[str, ...] = field(default=())
    """Trainings that failed, and why."""


def check(proxies: tuple[str, ...]) -> None:
    """Make sure that each proxy is one, and that its data are there.

    Raises:
        UsageError: one is not.
    """
    mistakes = []
    for proxy in proxies:
        try:
            datasets.check(proxy)
        except DataError as error:
            mistakes.append(f"{proxy}: {error}")
        else:
            if not is_task(proxy) and proxy.partition(":")[0] not in PROXIES:
                mistakes.append(f"{proxy}: no proxy of small grey images; give digits, fashion-mnist, or a task")
    if mistakes:
        raise UsageError(*mistakes)


def calibrate(asked: CalibrationRequest, *, folder: Path, step: Callable[[], None] = lambda: None) -> Calibrated:
    """Train every network on every proxy, but for what the folder holds, seed by seed; what fails costs no other.

    Args:
        asked: what is trained.
        folder: where scores are kept as they come.
        step: called after each training.

    Raises:
        UsageError: something that is asked for cannot be used; nothing was trained then.
        StoreError: the folder cannot be read or written.
    """
    networks = asked.chosen()
    check(asked.proxies)
    known = kept.read(folder)
    scores, failures = [], []
    for seed in range(asked.seeds):
        for proxy in dict.fromkeys(asked.proxies):
            for network in networks:
                score = known.get((network.name, proxy, seed, asked.steps))
                if score is None:
                    try:
                        score = learn(network, proxy, seed=seed, steps=asked.steps)
                    except (RuntimeError, ArithmeticError, ValueError) as error:
                        failures.append(f"{network.name} on {proxy}, seed {seed}: {raised.in_words(error)}")
                    else:
                        kept.append(folder, score)
                if score is not None:
                    scores.append(score)
                step()
    return Calibrated(scores=tuple(scores), failures=tuple(failures))


def total(asked: CalibrationRequest) -> int:
    """Return how many times ``step`` is called."""
    return asked.seeds * len(set(asked.proxies)) * len(set(asked.networks))


def budget(asked: CalibrationRequest) -> str:
    """Return how long is trained, in words."""
    return f"{number_of(asked.steps, 'step')} of {IMAGES} images or {BATCH} maps, {number_of(asked.seeds, 'seed')}"


def set_up(threads: int) -> None:
    """Give torch as many threads."""
    torch.set_num_threads(threads)
