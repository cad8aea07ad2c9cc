"""What a mechanism says of itself, read from its source without running it.

``attnbench list`` shows papers and options of every plugin in a fraction of the time that importing torch takes.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnbench.files import bytes_of
from attnbench.plugins.admitted import admitted
from attnbench.plugins.names import KNOWN, NETWORKS, PLACES
from attnbench.plugins.registry import Plugin

BUILT_IN = "attnbench.mechanisms"
_MOST_REEXPORTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What stands in a mechanism's class statement; empty where it is not written out there."""

    summary: str = ""
    paper: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    """Arguments of the constructor after the site, name to default as written."""
    admits: Mapping[str, str] = field(default_factory=dict)
    """What each of them admits, in words; those left out of which the text does not tell."""


def read(plugin: Plugin) -> Facts:
    """Return the facts of a plugin, as far as its source shows them."""
    if plugin.module == NETWORKS and not plugin.local:
        return Facts(summary="The attention layer inside that network of timm's, as the network builds it.")
    path, name = file_of(plugin), plugin.attribute
    for _ in range(_MOST_REEXPORTS):
        if path is None:
            break
        try:
            tree = ast.parse(bytes_of(path))
        except (OSError, SyntaxError, ValueError):
            break
        node = _class_of(tree.body, name)
        if node is not None:
            return _facts_of(node, _named(tree, path))
        path, name = _follow_import(tree, path, name)
    return Facts()


def _class_of(statements: Sequence[ast.stmt], name: str) -> ast.ClassDef | None:
    """Return a class by its name, which may be that of one within another."""
    first, _, within = name.partition(".")
    found = next((each for each in statements if isinstance(each, ast.ClassDef) and each.name == first), None)
    return _class_of(found.body, within) if found is not None and within else found


def file_of(plugin: Plugin) -> Path | None:
    """Return the file of a plugin's module without importing it, None if there is none."""
    return Path(plugin.module) if plugin.local else _module_file(plugin.module)


def package_of(module: str) -> str:
    """Return the package that a mechanism's code comes in: the top-level one, or the folder of the built-ins.

    These are below attnbench, so as to take no name of others', and are code like anybody's all the same.
    """
    return BUILT_IN if f"{module}.".startswith(f"{BUILT_IN}.") else module.partition(".")[0]


def _module_file(module: str) -> Path | None:
    """Return a module's file; only the top-level package is looked up, so that nothing is imported."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest and spec.origin:
        return Path(spec.origin)
    for root in spec.submodule_search_locations or ():
        base = Path(root).joinpath(*rest)
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


def _follow_import(tree: ast.Module, path: Path, name: str) -> tuple[Path | None, str]:
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                return _import_target(node, path), alias.name
    return None, name


def _import_target(node: ast.ImportFrom, path: Path) -> Path | None:
    if not node.level:
        return _module_file(node.module or "")
    base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _facts_of(node: ast.ClassDef, named: Mapping[str, ast.expr]) -> Facts:
    summary = (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
    arguments = _arguments(node)
    options = {arg.arg: ast.unparse(default) if default else "required" for arg, default in arguments}
    admits = {arg.arg: admitted(arg.annotation, named) for arg, _ in arguments}
    return Facts(
        summary=summary,
        paper=_constant(node, "paper"),
        options=options,
        admits={name: words for name, words in admits.items() if words},
    )


def _named(tree: ast.Module, path: Path) -> dict[str, ast.expr]:
    """Return what the names of a module stand for, those included that it has from another file of its package.

    Of the package and of those beside it, as mechanisms take from each other; what comes from elsewhere, as from torch,
    is no choice of an option and takes long to read.
    """
    found, near = _assigned(tree), {path.parent, path.parent.parent}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (target := _import_target(node, path)) is not None:
            found |= _imported(node, target) if near & {target.parent, target.parent.parent} else {}
    return found


def _imported(node: ast.ImportFrom, target: Path) -> dict[str, ast.expr]:
    try:
        there = _assigned(ast.parse(bytes_of(target)))
    except (OSError, SyntaxError, ValueError):
        return {}
    return {each.asname or each.name: there[each.name] for each in node.names if each.name in there}


def _assigned(tree: ast.Module) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = value
    return found


def _constant(node: ast.ClassDef, name: str) -> str:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=value)) if found == name:
                return str(value)
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.Constant(value=value)) if found == name:
                return str(value)
    return ""


def _arguments(node: ast.ClassDef) -> list[tuple[ast.arg, ast.expr | None]]:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _pairs(statement.args)
    return []


def _pairs(arguments: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    """Return the arguments that are options with their defaults: those after the site, or that no site fills in."""
    named = arguments.args[1:]
    defaults = [*[None] * len(named), *arguments.defaults][len(arguments.defaults) :]
    pairs = [
        *zip(named, defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    if pairs and pairs[0][0].arg == "site":
        return pairs[1:]
    return [(each, default) for each, default in pairs if each.arg not in PLACES | KNOWN.keys() and _is_plain(default)]


def _is_plain(default: ast.expr | None) -> bool:
    """Return whether a default is a value that can be written behind a name, or there is none."""
    return default is None or (isinstance(default, ast.Constant | ast.UnaryOp) and ast.unparse(default) != "None")
