"""What ``does_as_told`` says, as types."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """Whatever the code gives to ``say``."""

    told: Any


EVENTS = {"told": Told}
