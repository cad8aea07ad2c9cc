"""What every page is put together from: Vega, a policy that lets in nothing else, templates that escape."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from attnbench import inert
from attnbench.report.page.blocks import pieces
from attnbench.report.page.markdown import NOT_MEASURED

_LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-interpreter.js")
_MOST_OF_A_REASON = 100
_POLICY = "default-src 'none'; script-src {scripts}; style-src {style}; base-uri 'none'; form-action 'none'"


def scripts(*own: str) -> tuple[str, ...]:
    """Return Vega's scripts, and after them ours of some names as one."""
    text = "".join(map(read, own))
    return (*(read(f"vega/{name}") for name in _LIBRARIES), f'"use strict";\n(() => {{\n{text}}})();\n')


def policy(allowed: Sequence[str], style: str) -> str:
    """Return the policy of a page that lets in these scripts and this style and asks for nothing."""
    return _POLICY.format(scripts=" ".join(map(_hash, allowed)), style=_hash(style))


def read(name: str) -> str:
    """Return the text of a file of this folder."""
    return (resources.files("attnbench.report.html") / name).read_text(encoding="utf-8")


@cache
def template(name: str) -> Template:
    """Return a template of this folder; what it prints is escaped and made inert."""
    environment = Environment(
        autoescape=True,
        finalize=_inert,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(read),
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "pieces": pieces,
        "cut": lambda text: f"{text[:_MOST_OF_A_REASON]}..." if len(text) > _MOST_OF_A_REASON else text,
    }
    environment.globals["not_measured"] = NOT_MEASURED
    return environment.get_template(name)


def _hash(text: str) -> str:
    """Return how a policy names the one script or style that it lets in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _inert(value: object) -> object:
    """Return what a template prints: of strangers nothing that turns the direction of writing or is not seen."""
    return inert.shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value
