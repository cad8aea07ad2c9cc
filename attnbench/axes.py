"""The table of axes: what a sweep may vary, one field of ``Axes`` an axis, with its row beside it.

Everything that knows axes asks this table: the options of the command line, the names in a sweep file and in a ledger
of claims, the fields of a cell, the columns of ``records.csv``, phrases and titles in reports, and which cells may be
timed together. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from attnbench import runtimes
from attnbench.errors import did_you_mean
from attnbench.models.dense import DenseTask
from attnbench.models.pyramid import SWIN_T_SIZED
from attnbench.ranges import whole

T = TypeVar("T")

CLASSIFICATION = "classification"
INT8 = "int8"
"""The type of a module that is made in float32 and quantised after training by what runs it."""
OFF = "off"
COLD, WARM, UNCONTROLLED = "cold", "warm", "uncontrolled"
"""What a device's caches hold before a timed call: other data, what the layer's own last call left, nobody knows."""


class Scope(StrEnum):
    """What is built around the mechanism."""

    LAYER = "layer"
    BACKBONE = "backbone"
    NETWORK = "network"


class Mode(StrEnum):
    """What one timed call does."""

    INFER = "infer"
    TRAIN = "train"


class Told(StrEnum):
    """When an axis is named where a cell is told in a few words."""

    ALWAYS = "always"
    WHERE_UNUSUAL = "where unusual"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How one axis is asked for, read and told."""

    option: str
    """Its name on the command line, in a sweep file and in a ledger."""
    help: str
    read: Callable[[str], Any]
    """From a value as written to what a cell holds; a ValueError says what would do."""
    usual: str = ""
    """The value, as written, where none is asked for; empty where that depends on the rest of the sweep."""
    phrase: str = "{}"
    """How reports say a value."""
    told: Told = Told.WHERE_UNUSUAL
    scope: Scope | None = None
    """The only scope that it means something in; elsewhere its field has its default and its column is empty."""
    together: bool = False
    """Whether cells that differ in it are timed in turn, so that it is part of their names and not of their group."""
    timed: bool = False
    """Whether it means something for cells that are timed alone; others have its default."""
    counted: bool = False
    """Whether parameters and multiply-adds depend on it."""
    moved: bool = False
    """Whether the least bytes of a call depend on it and multiply-adds do not."""
    columns: tuple[str, ...] = ()
    """Its columns in ``records.csv``, those of its fields' names if empty."""
    fields: tuple[str, ...] = ()
    """The fields of a cell that a value is spread over; by default the one that it stands beside."""


SIDE = whole(1, 65_535)
"""Of an image, in pixels: what the formats that images come in can hold."""


def resolution(text: str) -> tuple[int, int]:
    """Read ``224`` or ``224x448`` (height x width, pixels).

    Raises:
        ValueError: it is neither, or a side is none of an image.
    """
    height, times, width = text.partition("x")
    try:
        return SIDE(height), SIDE(width if times else height)
    except ValueError:
        ends = f"each from {SIDE.lowest} to {SIDE.highest}"
        raise ValueError(f"expected pixels as 224, or height x width as 224x448, {ends}") from None


def texts(values: object) -> tuple[str, ...]:
    """Return values as they are written on the command line: one, several in a list, or a text with commas.

    Example:
        >>> texts("224,512"), texts([224, 512]), texts(True)
        (('224', '512'), ('224', '512'), ('on',))
    """
    if isinstance(values, str):
        return tuple(part.strip() for part in values.split(","))
    several = values if isinstance(values, list | tuple) else [values]
    return tuple(("off", "on")[each] if isinstance(each, bool) else str(each) for each in several)


@dataclass(frozen=True, slots=True)
class OneOf(Generic[T]):
    """What reads one of some names."""

    choices: Mapping[str, T]

    def __call__(self, text: str) -> T:
        """Return what a name stands for.

        Raises:
            ValueError: it is none of them; those that are near are named.
        """
        if text not in self.choices:
            raise ValueError(did_you_mean(text, self.choices))
        return self.choices[text]


def one_of(choices: Mapping[str, T]) -> OneOf[T]:
    """Return what reads one of some names."""
    return OneOf(choices)


def _row(**axis: Any) -> dict[str, Axis]:  # noqa: ANN401 - the fields of Axis, which checks them
    return {"axis": Axis(**axis)}


_HEADS = {CLASSIFICATION: "", **{task.value: task.value for task in DenseTask}}
_DTYPES = {
    **{name: name for name in ("float32", "bfloat16", "float16", INT8)},
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
}
_STAGES = {str(stage): stage for stage in range(1, len(SWIN_T_SIZED.dims) + 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """A point on every axis. The order is that of options, columns and phrases."""

    head: str = field(
        default="",
        metadata=_row(
            option="task", help="Heads on networks: segmentation, detection, instance. [classification]",
            read=one_of(_HEADS), usual=CLASSIFICATION, told=Told.ALWAYS, scope=Scope.NETWORK, counted=True,
        ),
    )  # fmt: skip
    """Task whose head a network is put under; empty for its own classifier."""
    scope: Scope = field(
        default=Scope.BACKBONE,
        metadata=_row(
            option="scope", help="backbone, layer, network. [backbone for mechanisms, network for networks]",
            read=one_of({scope.value: scope for scope in Scope}), usual="backbone", told=Told.NEVER, counted=True,
        ),
    )  # fmt: skip
    height: int = field(
        metadata=_row(
            option="res", help="Image sizes, 224 or 224x448 (height x width). [224; with --task what papers use]",
            read=resolution, told=Told.NEVER, counted=True,
            fields=("height", "width"), columns=("res_height", "res_width"),
        ),
    )  # fmt: skip
    """Image height in pixels."""
    width: int
    """Image width in pixels."""
    size_divisor: int = field(
        default=0,
        metadata=_row(
            option="pad", help="Networks: pad images to multiples of it, as detectors do (their size_divisor). [none]",
            read=whole(1, 4_096), phrase="padded to multiples of {}", scope=Scope.NETWORK, counted=True,
        ),
    )  # fmt: skip
    """Pixels of which both sides of a network's image are a multiple, after padding; 0 for an image as it is."""
    stage: int = field(
        default=0,
        metadata=_row(
            option="stage", help="Layer scope: stages of the backbone, 1 to 4. [3]",
            read=one_of(_STAGES), usual="3", phrase="stage {}", told=Told.ALWAYS, scope=Scope.LAYER, counted=True,
        ),
    )  # fmt: skip
    """Stage of the backbone that a layer-scope site is taken from, from 1; 0 elsewhere."""
    dim: int = field(
        default=0,
        metadata=_row(
            option="dim", help="Layer scope: channels. [the stage's]",
            read=whole(1, 65_536), phrase="dim {}", told=Told.NEVER, scope=Scope.LAYER, counted=True,
        ),
    )  # fmt: skip
    heads: int = field(
        default=0,
        metadata=_row(
            option="heads", help="Layer scope: heads. [the stage's]",
            read=whole(1, 65_536), phrase="{} heads", told=Told.NEVER, scope=Scope.LAYER, counted=True,
        ),
    )  # fmt: skip
    depth: int = field(
        default=0,
        metadata=_row(
            option="depth", help="Layer scope: layers in the stack. [4]",
            read=whole(1, 10_000), usual="4", phrase="{} layers", told=Told.NEVER, scope=Scope.LAYER, counted=True,
        ),
    )  # fmt: skip
    mode: Mode = field(
        default=Mode.INFER,
        metadata=_row(
            option="mode", help="infer, train. [infer]",
            read=one_of({mode.value: mode for mode in Mode}), usual="infer", told=Told.ALWAYS, moved=True,
        ),
    )  # fmt: skip
    dtype: str = field(
        default="float32",
        metadata=_row(
            option="dtype", help="float32, bfloat16, float16, int8 (quantised by the runtime). [float32]",
            read=one_of(_DTYPES), usual="float32", told=Told.ALWAYS, moved=True,
        ),
    )  # fmt: skip
    batch: int = field(
        default=1,
        metadata=_row(
            option="batch", help="Images per call. [1]", read=whole(1, 1_000_000), usual="1", phrase="batch {}",
            moved=True,
        ),
    )  # fmt: skip
    device: str = field(
        default="cpu",
        metadata=_row(
            option="device", help="cpu, cuda:1, xpu, mps, whatever torch knows. [the first accelerator, else cpu]",
            read=str, usual="auto", told=Told.ALWAYS,
        ),
    )  # fmt: skip
    """Full name of the device: what was asked for is read where the devices are known."""
    threads: int = field(
        default=1,
        metadata=_row(
            option="threads", help="CPU threads. [OMP_NUM_THREADS, else all cores but one]",
            read=whole(1, 4_096), usual="1", phrase="threads {}", told=Told.NEVER,
        ),
    )  # fmt: skip
    compiled: bool = field(
        default=False,
        metadata=_row(
            option="compile", help="off, on. [off]",
            read=one_of({"off": False, "on": True}), usual="off", phrase="compiled", together=True,
        ),
    )  # fmt: skip
    runtime: str = field(
        default=runtimes.TORCH,
        metadata=_row(
            option="runtime", help="What runs the module: torch, onnxruntime, openvino. [torch]",
            read=runtimes.name_of, usual=runtimes.TORCH, together=True, timed=True,
        ),
    )  # fmt: skip
    """What runs the module: torch, or a runtime that it is exported to."""
    sdpa: str = field(
        default="auto",
        metadata=_row(
            option="sdpa", help="Kernels torch's fused attention may use: auto, flash, efficient, cudnn, math. [auto]",
            read=one_of({name: name for name in ("auto", "flash", "efficient", "cudnn", "math")}), usual="auto",
            phrase="sdpa {}", together=True,
        ),
    )  # fmt: skip
    """The only kernel that ``scaled_dot_product_attention`` may use, ``auto`` for torch's choice."""
    autocast: str = field(
        default=OFF,
        metadata=_row(
            option="autocast", help="Torch's automatic mixed precision: off, bfloat16, float16. [off]",
            read=one_of({name: _DTYPES[name] for name in ("bfloat16", "float16", "bf16", "fp16")} | {OFF: OFF}),
            usual=OFF, phrase="autocast {}", together=True, moved=True,
        ),
    )  # fmt: skip
    """The type that torch casts to, operator by operator, within each call; the module stays in its own."""
    cache: str = field(
        default=UNCONTROLLED,
        metadata=_row(
            option="cache", help="What caches hold before a timed call: cold (other data), warm (its own). [cold]",
            read=one_of({name: name for name in (COLD, WARM)}), usual=COLD,
            phrase="cache {}", together=True, timed=True,
        ),
    )  # fmt: skip
    """What the caches held before each timed call; uncontrolled in rows that were measured before this was seen to."""


def _table() -> Iterator[Axis]:
    for each in fields(Axes):
        if axis := each.metadata.get("axis"):
            names = axis.fields or (each.name,)
            yield replace(axis, fields=names, columns=axis.columns or names)


AXES: Mapping[str, Axis] = MappingProxyType({axis.option: axis for axis in _table()})
"""Every axis by its option."""
DEFAULTS: Mapping[str, Any] = MappingProxyType({each.name: each.default for each in fields(Axes)})
"""What the fields of a cell hold that asks for nothing unusual."""
TOGETHER = tuple(axis.fields[0] for axis in AXES.values() if axis.together)
"""Fields on which cells may differ that are timed in turn."""
_UNSAID = {axis.fields[0]: {axis.read(axis.usual), DEFAULTS[axis.fields[0]]} for axis in AXES.values() if axis.together}
"""Their values that go unsaid: what is usual, and what a cell has that asks for nothing."""
PHRASES: Mapping[str, str] = MappingProxyType(
    {axis.fields[0]: axis.phrase for axis in AXES.values() if not axis.together and len(axis.fields) == 1}
)
"""How reports say what rows have in common besides their resolution and what is part of their names."""


def variant(point: Axes) -> tuple[str, ...]:
    """Return, in phrases, what tells a cell from others of its mechanism that are timed in turn with it."""
    return tuple(
        axis.phrase.format(value)
        for axis in AXES.values()
        if axis.together and (value := getattr(point, axis.fields[0])) not in _UNSAID[axis.fields[0]]
    )
