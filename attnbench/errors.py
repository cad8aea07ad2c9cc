"""Everything attnbench raises on purpose.

Each message says what was wrong, what was given and what would do. Only ``attnbench.cli.main`` turns them into
exit statuses.

- AttnbenchError
    - UsageError: options, names or values that cannot be used (exit status 2)
    - PluginError: a plugin that cannot be loaded, with the distribution or file to blame
    - StoreError: a results folder that cannot be read or written
    - BusyError: the machine is not idle, and that was required
    - ProcessError: no process can be started
    - InstallationError: torch, or another package that attnbench needs, does not import
    - DataError: a data set or checkpoint that is not there or does not fit
        - MisfitError: tensors that do not fit a network, for callers that expect torch's RuntimeError too
    - EngineError: what starts workers elsewhere is not there, or does not take them
        - NoMachineError: it has no machine of the kind that is asked for
"""

from collections.abc import Iterable
from difflib import get_close_matches


class AttnbenchError(Exception):
    """Base of every error that attnbench raises on purpose."""


class UsageError(AttnbenchError):
    """What was asked for cannot be used as it stands.

    Attributes:
        mistakes: every mistake found, one line each, so that all can be fixed at once.

    Example:
        >>> UsageError("unknown option 'windw'", "--res '0' is no size").mistakes
        ("unknown option 'windw'", "--res '0' is no size")
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class PluginError(AttnbenchError):
    """A plugin could not be loaded or does not keep the contract."""


class StoreError(AttnbenchError):
    """A results folder cannot be read or written."""


class BusyError(AttnbenchError):
    """Others use the machine, and it was to be measured only while nobody does."""


class ProcessError(AttnbenchError):
    """No process or thread can be started: the system allows no more.

    Example:
        >>> str(ProcessError("Resource temporarily unavailable")).partition(";")[0]
        'no process can be started: Resource temporarily unavailable'
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            f"no process can be started: {why}; allow more processes (ulimit -u, or the container's limit) "
            "and run the same command to go on: what was measured is kept"
        )


class InstallationError(AttnbenchError):
    """A package that attnbench needs does not import.

    Example:
        >>> str(InstallationError("torch", "ImportError: libcudnn.so.9: cannot open shared object file"))
        'torch does not import: ImportError: libcudnn.so.9: cannot open shared object file; install it anew'
    """

    def __init__(self, package: str, why: str) -> None:
        super().__init__(f"{package} does not import: {why}; install it anew")


class DataError(AttnbenchError):
    """A data set or a checkpoint is not there or does not fit what was asked."""


class MisfitError(DataError, RuntimeError):
    """Tensors do not fit a network; a RuntimeError too, which is what torch raises where it finds that itself."""


class EngineError(AttnbenchError):
    """What starts workers on other machines is not there, or does not take them; the message has its own words."""


class NoMachineError(EngineError):
    """There is no machine of the kind of hardware that is asked for."""


_MOST_KNOWN, _FEW = 40, 5


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return the end of a message that names what would do: the nearest names, or all of them, or some of very many."""
    names = sorted(known)
    begin = sorted((name for name in names if given and name.startswith(given)), key=len)
    near = list(dict.fromkeys([*begin, *get_close_matches(given, names, n=3, cutoff=0.5)]))[:3]
    if near:
        return f"did you mean {' or '.join(near)}?"
    if len(names) > _MOST_KNOWN:
        return f"known are {len(names):,}, such as {', '.join(names[:: len(names) // _FEW])}"
    return f"known: {', '.join(names)}" if names else "none are known"
