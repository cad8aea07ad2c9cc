"""The options that ask for a sweep, which several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from attnbench.cli.parameters import LATENCY, SECONDS, SIZE, axis_options, commas_option, mechanism_names

_OPTIONS = (
    click.argument("sweep_file", required=False, type=click.Path(path_type=Path, dir_okay=False)),
    commas_option(
        "--mechanisms",
        names=mechanism_names,
        help="Names, name:option=value, FILE.py:Class, or ours=any of them. [all installed]",
    ),
    commas_option("--networks", help="Published networks: of plugins, and every model of timm."),
    axis_options(),
    commas_option("--backend", help="Implementations of a mechanism, such as sdpa,unfused. [each's default]"),
    click.option("--until", help="Stop each cell after counts, memory or latency. [latency]"),
    click.option("--baseline", help="Mechanism that ratios refer to, or none. [mhsa]"),
    click.option(
        "--accuracy",
        metavar="DATASET",
        help="Also train on shift, recall, recall-pairs, same-different, digits, fashion-mnist, "
        "composite-segmentation, composite-detection, folder:PATH, torch/NAME, hfds/NAME, wds/NAME:FOLDER; or evaluate "
        "checkpoints on folder:PATH, under --task on ade20k:PATH or coco:PATH.",
    ),
    commas_option(
        "--checkpoint",
        metavar="NETWORK=FILE,...",
        help="Weights to evaluate networks with: --accuracy folder:PATH, ade20k:PATH, coco:PATH.",
    ),
    click.option(
        "--class-order",
        metavar="ORDER",
        help="Of a folder's classes, where a checkpoint names none: natural (2 before 10, as timm), "
        "text (10 before 2, as torchvision), or a file with a class a line. [natural]",
    ),
    click.option(
        "--recipe", metavar="NAME", help="Train on these images as papers do, networks too: deit, swin, short. [none]"
    ),
    click.option("--seeds", type=int, help="Trainings per mechanism. [3]"),
    click.option("--epochs", type=int, help="Passes over the data. [the data set's own]"),
    click.option("--precision", type=float, help="Half-width of the ratio's 95 % interval to reach. [0.01]"),
    click.option(
        "--max-time", type=float, help="Seconds of timed calls per cell; six rounds are made in any case. [10]"
    ),
    click.option(
        "--energy", is_flag=True, default=None, help="Also measure joules per image of what is timed, 5 s a cell."
    ),
    click.option("--timeout", type=float, help="Seconds for one phase of one cell. [300]"),
    click.option("--memory-limit", type=SIZE, help="Refuse cells estimated to take more. [what the device has free]"),
    click.option(
        "--max-latency",
        type=LATENCY,
        help="Say of what cannot be as fast by this machine's limit that it cannot, and do not time it.",
    ),
    click.option("--isolation", help="How a group's process starts: fork, or spawn, which takes seconds more. [fork]"),
)


def sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what a sweep is asked for by."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


hardware_option = commas_option(
    "--hardware", help="Measure on each of these kinds: h100,epyc, or box=cpu. [any machine, once]"
)
site_option = click.option(
    "--site",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ATTNBENCH_SITE",
    help="Profile of a site: its kinds of machines. [$ATTNBENCH_SITE, else none]",
)
require_idle_option = click.option(
    "--require-idle",
    type=SECONDS,
    is_flag=False,
    flag_value="600",
    metavar="[SECONDS]",
    help="Time nothing while others use the machine: wait up to so many seconds, 600 if not said, then give up.",
)
