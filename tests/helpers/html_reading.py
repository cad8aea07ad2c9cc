"""A page of HTML as a browser's parser sees it: elements, attributes, texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "input", "br", "link", "img", "base"}


@dataclass
class Element:
    """An element with its attributes and what is in it."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Element] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of the element and of all within, in which blanks count once."""
        return " ".join("".join(self._texts()).split())

    def all(self, tag: str = "") -> list[Element]:
        """Return every element within, of one tag if given."""
        found = [one for child in self.children for one in (child, *child.all())]
        return [one for one in found if one.tag == tag] if tag else found

    def named(self, name: str) -> Element:
        """Return the element that has an id."""
        return next(one for one in self.all() if one.attributes.get("id") == name)

    def _texts(self) -> list[str]:
        return self.own


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> within <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.own.append(data)


def read(text: str) -> Element:
    """Return a page's root; every element in it is closed."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is not closed"
    return reader.open[0]
