"""The contract of a runtime: what the harness asks of whatever runs a module. One is a subclass in a file.

A runtime is given a module of torch's and returns what is called in its place, with a tensor in and tensors out, so
that it is timed in the same rounds, given the same values and verified by the same referee as torch itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from attnbench.axes import INT8, OFF
from attnbench.record import Cell, Mode

Forward = Callable[[Tensor], Any]
"""Takes the input of a module, and returns what the module does: a tensor, or a tuple of them."""
WARM_UP = 3
"""Calls before those of which a runtime says what they spend their time on."""


class Spent(NamedTuple):
    """What a runtime says that some calls of a module spent their time on.

    Example:
        >>> found = Spent([("Gemm", 0.002), ("Softmax", 0.001), ("Gemm", 0.002)], took_s=0.006)
        >>> round(sum(seconds for _, seconds in found.ran), 3)
        0.005
    """

    ran: Sequence[tuple[str, float]]
    """An operator's kind and its seconds, for each time that one ran."""
    took_s: float
    """Seconds of all calls by the host's clock."""


class CannotRunError(Exception):
    """A runtime cannot run a module, and no fault of the harness keeps it from that; the message says what does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A module that a runtime has taken over.

    Example:
        >>> Prepared(forward=nn.Identity(), export="ONNX, whole").remark
        ''
    """

    forward: Forward
    export: str
    """In which form, and whether whole: ``ONNX, whole``; empty where nothing was exported."""
    remark: str = ""
    """What else was done to the module that a reader must know, such as in which type it computes."""
    spent: Callable[[Tensor, int], Spent] | None = None
    """Makes some calls, after ``WARM_UP`` that do not count, and returns what they spent their time on; None where the
    runtime does not tell, or was not asked to watch. Good for once."""
    spared_s: float = 0.0
    """Seconds that it once took to export what was taken from ``Runtime.exports``."""


class Runtime(ABC):
    """One runtime, by its name. It is never instantiated unless nothing that it needs is missing.

    Example:
        >>> from attnbench import runtimes
        >>> runtimes.of("torch").why_missing()
        ''
        >>> Cell(mechanism="qna", height=224, width=224, mode=Mode.TRAIN).runtime
        'torch'
    """

    watches: bool = False
    """Whether what it takes over is to tell what its calls spend their time on, which may make them slower. One that
    can gives ``Prepared`` its ``spent`` then; it is set before anything is taken over."""
    exports: Path | None = None
    """Where it may keep what it exports for whoever takes the same module over; None where nobody will."""
    name: ClassVar[str]
    extra: ClassVar[str]
    """What to install, as ``pip install`` takes it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that must be importable, those whose version a row says first."""
    dtypes: ClassVar[frozenset[str]]
    """The values of ``--dtype`` that it can be asked for; with ``int8`` it has ``quantize``."""
    quantizers: ClassVar[tuple[str, ...]] = ()
    """Modules that quantising needs beside those, from the same extra."""
    kinds: ClassVar[frozenset[str]] = frozenset({"cpu"})
    """Kinds of devices that it runs on."""

    @classmethod
    def why_missing(cls) -> str:
        """Return which modules are not installed and what installs them, empty if all are. Imports none of them."""
        return cls._why_without(cls.needs)

    @classmethod
    def why_not_quantizing(cls) -> str:
        """Return which modules it lacks to quantise and what installs them, empty if none. Imports none of them."""
        missing = cls._why_without(cls.quantizers)
        return f"to quantise, {missing}" if missing else ""

    @classmethod
    def _why_without(cls, modules: tuple[str, ...]) -> str:
        missing = [name for name in modules if find_spec(name) is None]
        return f"{', '.join(missing)} not installed: pip install '{cls.extra}'" if missing else ""

    @classmethod
    def version(cls, dtype: str = "float32") -> str:
        """Return name and version, as a row says them, with those of what quantises where that is asked for."""
        quantizers = cls.quantizers if dtype == INT8 else ()
        return ", ".join([f"{cls.name} {_version(cls.needs[0])}", *(f"{name} {_version(name)}" for name in quantizers)])

    @classmethod
    def why_unsupported(cls, cell: Cell) -> str:
        """Return why a cell is nothing for it, whatever the module; empty if it is."""
        return next(filter(None, cls._whys(cell)), "")

    @classmethod
    def _whys(cls, cell: Cell) -> Iterator[str]:
        kind = cell.device.partition(":")[0]
        if cell.mode is not Mode.INFER:
            yield f"{cls.name} only infers"
        if kind not in cls.kinds:
            yield f"{cls.name} runs on {', '.join(sorted(cls.kinds))} here, not on {kind}"
        if cell.dtype not in cls.dtypes:
            yield f"{cls.name} runs {', '.join(sorted(cls.dtypes))} here, not {cell.dtype}"
        if cell.dtype == INT8:
            yield cls.why_not_quantizing()
        if cell.compiled:
            yield f"--compile is torch's compiler; {cls.name} has its own"
        if cell.autocast != OFF:
            yield f"--autocast is torch's; {cls.name} computes in the types of its graph"
        if cell.sdpa != "auto":
            yield f"--sdpa names kernels of torch's; {cls.name} has its own"

    @abstractmethod
    def prepare(self, model: nn.Module, x: Tensor, *, cell: Cell) -> Prepared:
        """Take a module over, ready to be called as often as wanted with inputs of one shape.

        Args:
            model: in evaluation mode, on the cell's device and of its type.
            x: the input; its values are nothing to go by, its memory stays where it is and is filled anew.
            cell: what is asked: threads, type, device.

        Raises:
            CannotRunError: the module cannot be exported, or the runtime lacks an operator of it.
        """

    def quantize(self, model: nn.Module, x: Tensor, *, cell: Cell, samples: Sequence[Tensor]) -> Prepared:  # noqa: ARG002
        """Take a module over as ``prepare`` does, quantised after training: weights and activations in 8 bits.

        Args:
            model: in evaluation mode, on the cell's device, of float32; it stays as it is.
            x: the input, of float32, as ``prepare`` has it.
            cell: what is asked.
            samples: inputs of that shape, from which the ranges of activations are taken. The same ones must always
                give the same: calls are verified by quantising an untouched copy.

        Raises:
            CannotRunError: as ``prepare``, or nothing of the module is quantised.
        """
        raise CannotRunError(f"{self.name} does not quantise here")


def _version(module: str) -> str:
    try:
        return version(module.replace("_", "-"))
    except PackageNotFoundError:
        return "of unknown version"


@contextmanager
def blamed_on(what: str) -> Iterator[None]:
    """Within, whatever is raised is a reason why a module cannot be run, but for a lack of memory."""
    try:
        yield
    except (CannotRunError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise CannotRunError(f"{what}: {said[:300]}") from error
