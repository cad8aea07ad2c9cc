"""The screen: a console of rich on which nothing that strangers wrote is more than text."""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from attnbench import inert

_USUAL_WIDTH = 80


def console(**options: Any) -> Console:  # noqa: ANN401 - what rich's Console takes
    """Return a console whose every character is shown and none obeyed but those of its own styles."""
    made = Console(emoji=False, **options)  # :names: stay what they are, and rich's table of them unread
    if made.width < 1:  # COLUMNS=0, where a program asked a terminal that does not know
        made.width = _USUAL_WIDTH
    made.push_render_hook(_Inert())
    return made


class _Inert(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Cleaned(each) for each in renderables]


class _Cleaned:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            yield segment if segment.control else Segment(inert.shown(segment.text), segment.style)
