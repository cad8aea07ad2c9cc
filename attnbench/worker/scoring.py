"""What is done to a cell that asks for accuracy: its network is evaluated or trained, or its mechanism's backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from attnbench import devices, runtimes
from attnbench.accuracy import evaluation, proxy
from attnbench.accuracy.composites.table import is_composite
from attnbench.accuracy.data import datasets
from attnbench.accuracy.data.folders import Images
from attnbench.accuracy.data.images import Transform
from attnbench.accuracy.dense.table import is_annotated
from attnbench.accuracy.kept import Keeper
from attnbench.accuracy.tasks.curve import Curve
from attnbench.accuracy.tasks.table import is_task, read
from attnbench.axes import INT8
from attnbench.mechanism import Mechanism, Site
from attnbench.models import checkpoint, subject
from attnbench.models.backbone import LayersOf
from attnbench.models.dense import DenseTask
from attnbench.models.pyramid import Pyramid
from attnbench.plugins.registry import discover
from attnbench.record import Cell, Status
from attnbench.runs.job import Assignment, Settings
from attnbench.runtimes.runtime import CannotRunError
from attnbench.worker.ready import Enter, Metrics, Unmeasurable

if TYPE_CHECKING:
    from attnbench.accuracy.composites.bodies import BuildBody

Progress = Callable[[float], None]
"""Called with the fraction of a phase that is done."""
Learn = Callable[[str, Metrics], None]
"""Called with a phase and what it has found by now, which is kept should the run be interrupted."""


def measure_accuracy(
    assignment: Assignment,
    settings: Settings,
    enter: Enter,
    learn: Learn,
    progress: Progress,
    *,
    checkpoints: Path = Path(),
) -> Metrics:
    """Return how many images a cell's network names right, or how well its mechanism learns to.

    Args:
        assignment: the cell.
        settings: the seed.
        enter: called with the name of a phase before it starts.
        learn: called with what a phase has found by now.
        progress: called with the part of a phase that is done.
        checkpoints: where what long trainings have come to is kept, a folder for each cell.

    Raises:
        Unmeasurable: the network does not take images of that size, or the mechanism no such map.
    """
    cell = assignment.cell
    keeper = Keeper(folder=checkpoints / cell.key if checkpoints != Path() else None)
    if is_composite(cell.dataset):
        return train_head(cell, settings, enter, progress, keeper)
    if is_annotated(cell.dataset):
        from attnbench.worker import annotated  # noqa: PLC0415 - torchvision: for these only

        return annotated.evaluate(cell, enter, progress)
    if cell.recipe:
        return train_by_recipe(cell, settings, enter, progress, checkpoints / cell.key)
    if cell.network:
        return evaluate_checkpoint(cell, enter, progress)
    if is_task(cell.dataset):
        return learn_task(assignment, settings, enter, learn, progress, keeper=keeper)
    return train_proxy(assignment, settings, enter, learn, progress, keeper=keeper)


def learn_task(
    assignment: Assignment, settings: Settings, enter: Enter, learn: Learn, progress: Progress, *, keeper: Keeper
) -> Metrics:
    """Learn a task with a cell's mechanism; what an interrupted run has learned by then is not learned again."""
    from attnbench.accuracy.tasks import learning, network  # noqa: PLC0415 - for these cells only

    cell = assignment.cell
    enter("loading")
    mechanism, asked = discover().find(cell.mechanism).load(), read(cell.dataset)
    layers = LayersOf(mechanism=mechanism, options=cell.options)
    sites = network.sites(asked.task)
    _check_sites(mechanism, sites, cell)
    if any(layers.shrinks(site) > 1 for site in sites):
        raise Unmeasurable(Status.UNSUPPORTED, "it shrinks its map, and a task asks for an answer at each token")
    enter("training")
    found = learning.learn(
        layers,
        asked,
        seeds=range(settings.seed, settings.seed + cell.seeds),
        epochs=cell.epochs or None,
        device=cell.device,
        known=_curve(assignment),
        keep=lambda curve: learn("training", {"accuracy_curve": str(curve)}),
        keeper=keeper,
        progress=lambda done, total: progress(done / total),
    )
    keeper.forget()
    return found.to_metrics()


def _curve(assignment: Assignment) -> Curve | None:
    kept = assignment.known.get("accuracy_curve")
    return Curve.read(kept) if isinstance(kept, str) else None


def evaluate_checkpoint(cell: Cell, enter: Enter, progress: Progress) -> Metrics:
    """Show a network with a checkpoint's weights the images of a folder, preprocessed as it asks for."""
    enter("loading")
    asked = subject.of(cell)
    reason = runtimes.of(cell.runtime).why_unsupported(cell) or asked.why_unsupported()
    if reason:
        raise Unmeasurable(Status.UNSUPPORTED, reason)
    model = asked.build()
    checkpoint.load(Path(cell.checkpoint).expanduser(), model, network=cell.network)
    images = evaluation.find(cell.dataset.removeprefix(evaluation.PREFIX))
    outputs = model.num_classes
    assert isinstance(outputs, int)
    weights = Path(cell.checkpoint).expanduser()
    numbers = evaluation.numbering(images, weights, asked=cell.class_order, outputs=outputs)
    transform = evaluation.preprocessing(model, height=cell.height, width=cell.width)
    quantized = said = None
    if cell.dtype == INT8:
        enter("quantising")
        quantized, said = _quantized(cell, model.eval(), images, transform)
    enter("evaluating")
    found = evaluation.evaluate(
        model,
        images,
        numbers,
        transform=transform,
        quantized=quantized,
        device=devices.of(cell.device).where,
        progress=lambda done, total: progress(done / total),
    )
    remark = "; ".join(filter(None, [said, found.remark]))
    return replace(found, remark=remark).to_metrics()


def _quantized(
    cell: Cell, model: nn.Module, images: Images, transform: Transform
) -> tuple[Callable[[Tensor], Tensor], str]:
    """Return what a cell's runtime makes of a network with trained weights, and in words from which images."""
    model = model.to(devices.of(cell.device).where)
    batches, whose = evaluation.calibration(images, transform)
    samples = [batch.to(devices.of(cell.device).where) for batch in batches]
    try:
        found = runtimes.of(cell.runtime)().quantize(model, samples[0].clone(), cell=cell, samples=samples)
    except CannotRunError as reason:
        raise Unmeasurable(Status.UNSUPPORTED, str(reason)) from None
    return found.forward, f"{found.remark.partition(', ranges')[0]}, ranges from {whose}"


def train_head(cell: Cell, settings: Settings, enter: Enter, progress: Progress, keeper: Keeper) -> Metrics:
    """Train a cell's network, or its mechanism's backbone, under its head on composites, and score it."""
    from attnbench.accuracy.composites import batches, heads, learning  # noqa: PLC0415 - torchvision: for these only

    enter("loading")
    data = batches.load(cell.dataset, height=cell.height, width=cell.width)
    head, body = heads.HEADS[DenseTask(cell.head)], _body(cell)
    enter("training")
    found = learning.learn(
        body,
        head.build,
        data,
        seeds=range(settings.seed, settings.seed + cell.seeds),
        epochs=cell.epochs or head.epochs,
        device=cell.device,
        alive=progress,
        keeper=keeper,
    )
    keeper.forget()
    return found.to_metrics()


def _body(cell: Cell) -> BuildBody:
    from attnbench.accuracy.composites import bodies  # noqa: PLC0415 - torchvision

    if cell.network:
        reason = subject.of(cell).why_unsupported()
        if reason:
            raise Unmeasurable(Status.UNSUPPORTED, reason)
        return bodies.of_network(cell.network, cell.options, height=cell.height, width=cell.width)
    mechanism = discover().find(cell.mechanism).load()
    layers = LayersOf(mechanism=mechanism, options=cell.options)
    _check_sites(mechanism, bodies.sites_of(cell.height, cell.width), cell)
    _check_backbone(layers, bodies.PYRAMID, cell.height, cell.width)
    return bodies.of_mechanism(layers, height=cell.height, width=cell.width)


def _check_sites(mechanism: type[Mechanism], sites: Sequence[Site], cell: Cell) -> None:
    for site in sites:
        reason = mechanism.why_unsupported(site, **cell.options)
        if reason:
            place = f"{site.height}x{site.width} tokens, dim {site.dim}, {site.heads} heads"
            raise Unmeasurable(Status.UNSUPPORTED, f"at {place}: {reason}")


def _check_backbone(layers: LayersOf, pyramid: Pyramid, height: int, width: int) -> None:
    reason = layers.why_no_backbone(pyramid, height, width)
    if reason:
        raise Unmeasurable(Status.UNSUPPORTED, reason)


def train_proxy(
    assignment: Assignment, settings: Settings, enter: Enter, learn: Learn, progress: Progress, *, keeper: Keeper
) -> Metrics:
    """Train the backbone, sized for the data, with a cell's mechanism, and return how well it learned.

    Seeds that an interrupted run has trained with are not trained with again.
    """
    cell = assignment.cell
    enter("loading")
    mechanism = discover().find(cell.mechanism).load()
    data = datasets.load(cell.dataset, image_size=(cell.height, cell.width))
    layers = LayersOf(mechanism=mechanism, options=cell.options)
    _check_backbone(layers, proxy.sized_for(data), data.height, data.width)
    enter("training")
    found = proxy.train(
        layers,
        data,
        seeds=range(settings.seed, settings.seed + cell.seeds),
        epochs=cell.epochs or None,
        device=cell.device,
        progress=lambda done, total: progress(done / total),
        alive=progress,
        known=_per_seed(assignment),
        keep=lambda shares: learn("training", {"accuracy_per_seed": " ".join(f"{each:.6g}" for each in shares)}),
        keeper=keeper,
    )
    keeper.forget()
    return found.to_metrics()


def train_by_recipe(cell: Cell, settings: Settings, enter: Enter, progress: Progress, folder: Path) -> Metrics:
    """Train a cell's network, or its mechanism's backbone, as a paper does, from where a run before has left it."""
    from attnbench.accuracy.recipes import ingredients, models, table, training  # noqa: PLC0415 - for these cells only

    enter("loading")
    recipe = table.RECIPES[cell.recipe]
    data = datasets.load(
        cell.dataset, image_size=(cell.height, cell.width), training=partial(ingredients.transform, recipe)
    )
    course = training.Course(
        name=cell.recipe, recipe=recipe, data=data, epochs=cell.epochs or recipe.epochs, folder=folder
    )
    if cell.network:
        reason = subject.of(cell).why_unsupported()
        if reason:
            raise Unmeasurable(Status.UNSUPPORTED, reason)
        build = models.of_network(cell.network, cell.options, data, recipe)
    else:
        mechanism = discover().find(cell.mechanism).load()
        build = models.of_mechanism(lambda site: mechanism(site, **cell.options), data)
    enter("training")
    seeds = range(settings.seed, settings.seed + cell.seeds)
    return training.train(build, course, seeds=seeds, device=cell.device, alive=progress).to_metrics()


def _per_seed(assignment: Assignment) -> list[float]:
    kept = assignment.known.get("accuracy_per_seed")
    return [float(each) for each in kept.split()] if isinstance(kept, str) else []
