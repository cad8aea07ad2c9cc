"""What a parent hears of a child; ``attnbench.child.voice`` is the other end.

Nothing is believed as such. An event has the secret of this child, is JSON, has a name that is expected, and fits the
type that the name stands for. Anything else is what a plugin has written, and nothing is heard from there on.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from attnbench import inert
from attnbench.child.voice import SECRET_BYTES
from attnbench.reading import structured

EventTypes: TypeAlias = Mapping[str, type]
"""By the name of each event that is expected, the type that its other fields are read into."""


@dataclass(frozen=True, slots=True)
class Reached:
    """An event that is all in its name."""


_LINE_BYTES = 1_000_000
"""An event is shorter."""
_SHOWN = 80
"""Characters of what is no event that are shown."""


class Ear:
    """The parent's end of a channel on which a child says events."""

    def __init__(self, types: EventTypes) -> None:
        self.socket, self.of_the_child = socket.socketpair()
        self.open = True
        """Whether more may come."""
        self.foreign = ""
        """What came that is no event, for people; empty if nothing did."""
        self._types = types
        self._secret = secrets.token_hex(SECRET_BYTES // 2).encode()
        self._unread = b""
        self.socket.sendall(self._secret)

    def hear(self) -> Iterator[Any]:
        """Yield the events that are there by now."""
        while self.open:
            try:
                data = self.socket.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.open = False
                return
            *lines, self._unread = (self._unread + data).split(b"\n")
            if len(self._unread) > _LINE_BYTES:
                lines.append(self._unread)
            yield from self._events(lines)

    def disbelieve(self, said: str) -> None:
        """Hear nothing any more, since this was said."""
        self.open = False
        self.foreign = self.foreign or repr(inert.brief(said, most=_SHOWN))

    def close(self) -> None:
        """Close both ends."""
        self.open = False
        self.socket.close()
        self.of_the_child.close()

    def _events(self, lines: list[bytes]) -> Iterator[Any]:
        for line in lines:
            if len(line) > _LINE_BYTES:
                self.disbelieve(line[: _SHOWN * 4].decode(errors="replace"))
                return
            secret, _, said = line.partition(b" ")
            try:
                if secret != self._secret:
                    raise ValueError(line)
                content = json.loads(said)
                kind = self._types[content.pop("event")]
                event: Any = structured(content, kind)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self.disbelieve(line.replace(self._secret, b"").decode(errors="replace"))
                return
            yield event
