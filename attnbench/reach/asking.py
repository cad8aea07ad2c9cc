"""From what ``attnbench reach`` is asked for to fields of every mechanism and network, each seed's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnbench import raised
from attnbench.accuracy import proxy, training
from attnbench.accuracy.data import datasets, fashion
from attnbench.accuracy.data.splits import Dataset
from attnbench.accuracy.tasks.table import is_task
from attnbench.errors import AttnbenchError, UsageError
from attnbench.mechanism import Mechanism
from attnbench.models import checkpoint, networks
from attnbench.models.backbone import Backbone, LayersOf
from attnbench.plugins import options
from attnbench.plugins.registry import discover
from attnbench.reach.gradients import StageInfluence, measure

INITIAL, TRAINED = "initial", "trained"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachRequest:
    """What is looked at, and how."""

    mechanisms: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    """Files of weights by the network's name."""
    size: tuple[int, int] = (224, 224)
    """Height and width of the images, in pixels."""
    images: int = 4
    seeds: int = 3
    train: str = ""
    """Data set that backbones of mechanisms are trained on, at its own size; empty for none."""
    epochs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReach:
    """The fields of one network in one state."""

    name: str
    state: str
    """``initial`` or ``trained``."""
    seeds: tuple[tuple[StageInfluence, ...], ...] = ()
    """Of each seed, each stage's."""
    failure: str = ""
    """Why there are none; empty if there are."""


def reach(asked: ReachRequest, *, step: Callable[[], None] = lambda: None) -> Iterator[NetworkReach]:
    """Yield the fields of each mechanism and network as they are found; what fails costs nobody else's.

    Args:
        asked: what is looked at.
        step: called after each seed of each.

    Raises:
        UsageError: something that is asked for cannot be used; nothing was looked at then.
    """
    data = _data(asked)
    builds = [(spec, _mechanism(spec)) for spec in asked.mechanisms]
    for name in asked.networks:
        networks.find(options.split(name)[0])
    for spec, build in builds:
        yield from _of_mechanism(spec, build, asked, data, step)
    for spec in asked.networks:
        yield _of_network(spec, asked, step)


def total(asked: ReachRequest) -> int:
    """Return how many times ``step`` is called."""
    return asked.seeds * (len(asked.mechanisms) + len(asked.networks))


def _data(asked: ReachRequest) -> Dataset | None:
    if not asked.train:
        return None
    if is_task(asked.train):
        raise UsageError(f"--train {asked.train}: it is a task, not of images; give digits, or folder:PATH")
    try:
        datasets.check(asked.train)
        small = asked.train == datasets.DIGITS or fashion.folder_of(asked.train)
        return datasets.load(asked.train, image_size=None if small else asked.size)
    except AttnbenchError as error:
        raise UsageError(f"--train {asked.train}: {error}") from None


def _mechanism(spec: str) -> Callable[[Any], Mechanism]:
    name, given = options.split(spec)
    mechanism = discover().find(name).load()
    resolved = options.resolve(mechanism, given)
    return LayersOf(mechanism=mechanism, options=resolved)


def _of_mechanism(
    spec: str, build: Callable[[Any], Mechanism], asked: ReachRequest, data: Dataset | None, step: Callable[[], None]
) -> Iterator[NetworkReach]:
    """Yield a backbone's fields as it starts and, if it is trained, afterwards, of the same images."""
    states = (INITIAL, TRAINED) if data else (INITIAL,)
    found: dict[str, list[tuple[StageInfluence, ...]]] = {state: [] for state in states}
    try:
        for seed in range(asked.seeds):
            model, images = _backbone(build, asked, data, seed)
            found[INITIAL].append(measure(model.eval(), images))
            if data:
                for _ in training.fit(
                    model,
                    data,
                    seed=seed,
                    epochs=asked.epochs or data.epochs,
                    dtype=torch.float32,
                    recipe=training.TrainingRecipe(),
                ):
                    pass
                found[TRAINED].append(measure(model.eval(), images))
            step()
    except Exception as error:  # a mechanism may raise anything
        yield NetworkReach(name=spec, state=INITIAL, failure=raised.in_words(error))
        return
    for state, seeds in found.items():
        yield NetworkReach(name=spec, state=state, seeds=tuple(seeds))


def _backbone(
    build: Callable[[Any], Mechanism], asked: ReachRequest, data: Dataset | None, seed: int
) -> tuple[Backbone, Tensor]:
    if data:
        images, _ = data.held_out.batch(range(min(asked.images, len(data.held_out))), draw=0)
        return proxy.backbone(build, data, seed=seed), images
    torch.manual_seed(seed)
    model = Backbone(build, height=asked.size[0], width=asked.size[1])
    return model, noise(asked, seed)


def _of_network(spec: str, asked: ReachRequest, step: Callable[[], None]) -> NetworkReach:
    """Return a network's fields: with the weights of a checkpoint once, with random ones for each seed."""
    name, given = options.split(spec)
    weights = asked.checkpoints.get(name, "")
    state, seeds = (TRAINED, 1) if weights else (INITIAL, asked.seeds)
    try:
        found = []
        for seed in range(seeds):
            found.append(measure(_network(name, given, asked, weights, seed).eval(), noise(asked, seed)))
            step()
    except AttnbenchError as error:
        return NetworkReach(name=spec, state=state, failure=str(error))
    except Exception as error:  # a stranger's constructor may raise anything
        return NetworkReach(name=spec, state=state, failure=raised.in_words(error))
    return NetworkReach(name=spec, state=state, seeds=tuple(found))


def _network(name: str, given: Mapping[str, str], asked: ReachRequest, weights: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = networks.create(name, height=asked.size[0], width=asked.size[1], options=networks.parse_options(given))
    if weights:
        checkpoint.load(Path(weights).expanduser(), model, network=name)
    return model


def noise(asked: ReachRequest, seed: int) -> Tensor:
    """Return images of independent normal noise, (images, 3, height, width): what Luo et al. average over."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(asked.images, 3, *asked.size, generator=generator)


def set_up(threads: int) -> None:
    """Give torch as many threads."""
    torch.set_num_threads(threads)


def averaged(asked: ReachRequest) -> str:
    """Return what was averaged over, in words."""
    what = f"held-out images of {asked.train}" if asked.train else "images of noise"
    several = f"{asked.seeds} seeds" if asked.seeds > 1 else "1 seed"
    return f"{asked.images} {what} and {several}"


def names(records: Sequence[NetworkReach]) -> list[str]:
    """Return what each is called: its state too, where somebody's fields are there in both."""
    both = {one.name for one in records if one.state == TRAINED} & {one.name for one in records if one.state == INITIAL}
    return [f"{one.name}, {one.state}" if one.name in both else one.name for one in records]
