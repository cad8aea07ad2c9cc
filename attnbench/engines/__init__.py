"""What starts workers on the machines of a site, a file each: this machine, Slurm, Ray. No torch.

An engine starts ``attnbench work FOLDER`` and nothing more: what is done, and by whom, is in the folder of the run.
Other packages bring one by the entry-point group ``attnbench.engines``: its name, and a subclass of
``attnbench.engines.engine.Engine``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.families import Family

if TYPE_CHECKING:
    from attnbench.engines.engine import Engine

GROUP = "attnbench.engines"
_FAMILY: Family[Engine] = Family(
    word="on",
    group=GROUP,
    built_in={
        "local": "attnbench.engines.local:LocalEngine",
        "ray": "attnbench.engines.ray:RayEngine",
        "slurm": "attnbench.engines.slurm:SlurmEngine",
    },
    base="attnbench.engines.engine:Engine",
)


def names() -> tuple[str, ...]:
    """Return the names of all engines, whether what they need is installed or not."""
    return _FAMILY.names()


def of(name: str) -> type[Engine]:
    """Return the engine of a name.

    Raises:
        PluginError: it belongs to another package and does not load.
        UsageError: there is none of that name.
    """
    return _FAMILY.of(name)
