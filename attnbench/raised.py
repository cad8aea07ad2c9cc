"""An exception in one line: its type and text, and where it has no text the line of code that raised it. No torch."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from attnbench import inert

_OURS = Path(__file__).resolve().parent
_LONGEST = 120


def in_words(error: BaseException, *, most: int = 500) -> str:
    """Return what an exception says, on one line.

    Args:
        error: whatever was raised.
        most: characters of its text that are kept.

    Example:
        >>> in_words(ValueError("no heads"))
        'ValueError: no heads'
        >>> in_words(KeyError())
        'KeyError'
    """
    said, kind = inert.brief(error, most=most).strip(), type(error).__name__
    if said:
        return f"{kind}: {said}"
    where = place_of(error)
    return f"{kind}, at {where}" if where else kind


def place_of(error: BaseException) -> str:
    """Return the line of code that raised an exception with its file and number, empty if that is not known.

    It is the last one that is neither torch's nor attnbench's; of those if there is no other.
    """
    frames = traceback.extract_tb(error.__traceback__)
    others = [frame for frame in frames if not _of_the_house(Path(frame.filename))] or frames
    if not others:
        return ""
    line, name = others[-1].line, f"{Path(others[-1].filename).name}:{others[-1].lineno}"
    return inert.brief(f"`{line[:_LONGEST]}` ({name})" if line else name)


def while_importing(error: BaseException) -> str:
    """Return the package of somebody else's that raised an exception while attnbench imported it, empty if none did."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    trace = error.__traceback__
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if trace.tb_frame.f_code.co_name == "<module>" and package not in ("attnbench", "__main__"):
            return package
        trace = trace.tb_next
    return ""


def _of_the_house(file: Path) -> bool:
    torch = getattr(sys.modules.get("torch"), "__file__", None)
    return file.resolve().is_relative_to(_OURS) or bool(torch and file.is_relative_to(Path(torch).parent))
