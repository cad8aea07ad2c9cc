"""Where mechanisms come from: entry points of installed distributions, and local files.

Listing reads metadata only. Nothing is imported, torch least of all, before ``Plugin.load`` is called.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench import raised
from attnbench.errors import PluginError, did_you_mean
from attnbench.files import opened
from attnbench.plugins.names import NETWORKS

if TYPE_CHECKING:
    from attnbench.mechanism import Mechanism

GROUP = "attnbench.mechanisms"
_VALUE = re.compile(r"\s*(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[.*\])?\s*")
"""Of an entry point: a class may stand within another one, and extras that it needs behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A mechanism that can be loaded, with the distribution or file that answers for it."""

    name: str
    module: str
    """Dotted module of an entry point, or the path of a local file."""
    attribute: str
    distribution: str
    """``name version`` of the distribution, or ``FILE.py sha256:...`` of a local file."""
    local: bool = False

    def load(self) -> type[Mechanism]:
        """Import the plugin and return its mechanism, adapted if it is a module of another kind.

        Raises:
            PluginError: it does not import, has no such attribute, is no module, or cannot be adapted.
        """
        from torch.nn import Module  # noqa: PLC0415 - heavy, so not before it is needed

        from attnbench.mechanism import Mechanism  # noqa: PLC0415
        from attnbench.plugins.adapter import adapt  # noqa: PLC0415
        from attnbench.plugins.functional import is_of_qkv  # noqa: PLC0415

        if self.module == NETWORKS and not self.local:
            return self._inside()
        found = self._import()
        if isinstance(found, type) and issubclass(found, Mechanism):
            return found
        takes_a_site = callable(found) and not isinstance(found, Module)
        if not takes_a_site or (isinstance(found, type) and not issubclass(found, Module)):
            raise PluginError(self._unfit(found))
        try:
            adapted = adapt(qkv=found) if is_of_qkv(found) else adapt(found)  # type: ignore[arg-type]
        except PluginError as error:
            said = str(error) if isinstance(found, type) else f"{self._unfit(found)}; {error}"
            raise PluginError(said if said.startswith(self.name) else f"{self._who}: {said}") from None
        adapted.named = self.name
        return adapted

    def _inside(self) -> type[Mechanism]:
        """Return the attention layer of a network of timm's, with what the network gives it."""
        from attnbench.plugins.adapter import adapt  # noqa: PLC0415
        from attnbench.plugins.inside import layer_of  # noqa: PLC0415

        network, _, layer = self.attribute.partition(".")
        kind, given = layer_of(network, layer)
        adapted = adapt(kind, **given)  # type: ignore[arg-type]
        adapted.named = self.name
        return adapted

    @property
    def _who(self) -> str:
        return f"{self.name} from {self.distribution}"

    def _unfit(self, found: object) -> str:
        return (
            f"{self._who}: {self.module}:{self.attribute} is {_kind(found)}; a subclass of "
            "attnbench.mechanism.Mechanism or of torch.nn.Module is needed, a function of q, k and v, or one that "
            "returns a module for dim, heads and the like, or for a site"
        )

    def _import(self) -> object:
        try:
            module = _import_file(Path(self.module)) if self.local else importlib.import_module(self.module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything, SystemExit included
            raise PluginError(
                f"{self.name} from {self.distribution} does not import: {raised.in_words(error)}; "
                f"{self._advice(error)} or leave {self.name} out"
            ) from error
        try:
            found: object = attrgetter(self.attribute)(module)
        except AttributeError:
            raise PluginError(
                f"{self.name} from {self.distribution}: {self.module} has no {self.attribute!r}; "
                f"{_elsewhere(module, self.attribute) or did_you_mean(self.attribute, _public_classes(module))}"
            ) from None
        return found

    def _advice(self, error: BaseException) -> str:
        """Say what to do about what was raised while it was imported.

        A local file's folder is not put on the path: of two files whose neighbours have one name, the second would get
        those of the first, and what is imported in a call comes too late.
        """
        if not isinstance(error, ModuleNotFoundError) or not error.name:
            return f"fix {self.module}"
        top, folder = error.name.partition(".")[0], Path(self.module).parent
        if self.local and ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
            return f"{top} lies beside it, which is not searched: put PYTHONPATH={folder} before the command,"
        return f"install what has {top}, fix {self.module}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The installed mechanisms by name, and the names that more than one distribution claims."""

    plugins: Mapping[str, Plugin]
    conflicts: Mapping[str, tuple[Plugin, ...]]

    def find(self, name: str) -> Plugin:
        """Return the plugin of a name, of ``FILE.py:Class``, of ``package.module:Class``, or of ``timm:NETWORK``.

        Raises:
            PluginError: there is none, or more than one.
        """
        path, colon, attribute = name.rpartition(":")
        if path.endswith(".py"):
            return from_file(Path(path), attribute)
        if name.endswith(".py"):
            raise PluginError(f"no class named in {name!r}; write {name}:MyAttention")
        if colon and all(part.isidentifier() for part in (*path.split("."), *attribute.split("."))):
            return from_module(path, attribute)
        if colon:
            raise PluginError(f"{name!r} is neither a mechanism, nor FILE.py:Class, nor package.module:Class")
        if name in self.conflicts:
            origins = " and ".join(plugin.distribution for plugin in self.conflicts[name])
            raise PluginError(f"mechanism {name!r} is claimed by {origins}; uninstall or rename one of them")
        if name not in self.plugins:
            raise PluginError(f"unknown mechanism {name!r}; {did_you_mean(name, self.plugins)}")
        return self.plugins[name]


def discover(entry_points: Iterable[metadata.EntryPoint] | None = None) -> Registry:
    """Return the registry of what is installed, without importing any of it."""
    found: dict[str, dict[str, Plugin]] = {}
    for entry in metadata.entry_points(group=GROUP) if entry_points is None else entry_points:
        value = _VALUE.fullmatch(entry.value)
        module, attribute = (value["module"], value["attribute"]) if value else (entry.value, "")
        plugin = Plugin(name=entry.name, module=module, attribute=attribute, distribution=origin(entry))
        # A distribution met twice on sys.path (a checkout and its editable install) is one plugin, not a conflict.
        found.setdefault(entry.name, {}).setdefault(f"{plugin.distribution} {entry.value}", plugin)
    return Registry(
        plugins={name: next(iter(claims.values())) for name, claims in sorted(found.items()) if len(claims) == 1},
        conflicts={name: tuple(claims.values()) for name, claims in sorted(found.items()) if len(claims) > 1},
    )


def from_file(path: Path, attribute: str) -> Plugin:
    """Return the plugin that a class of a local file is; its content's hash stands for its version.

    Raises:
        PluginError: there is no such file.
    """
    try:
        with opened(path) as file:
            content = file.read()
    except OSError as error:
        raise PluginError(f"cannot read {path}: {error.strerror}; give the path of a Python file") from None
    return Plugin(
        name=f"{path}:{attribute}",
        module=str(path),
        attribute=attribute,
        distribution=f"{path.name} sha256:{hashlib.sha256(content).hexdigest()[:12]}",
        local=True,
    )


def from_module(module: str, attribute: str) -> Plugin:
    """Return the plugin that a class of an installed module is; the version is that of its distribution.

    Raises:
        PluginError: there is no such package.
    """
    top = module.partition(".")[0]
    if not _is_installed(top):
        raise PluginError(f"no package {top!r} is installed; install it, or give FILE.py:Class")
    return Plugin(name=f"{module}:{attribute}", module=module, attribute=attribute, distribution=_distribution_of(top))


def _is_installed(top: str) -> bool:
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


@cache
def _distribution_of(top: str) -> str:
    """Return the distribution of a package; most are called alike, and asking who brings it takes a while."""
    try:
        return _named(metadata.distribution(top))
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(top, ())
        return _named(metadata.distribution(names[0])) if names else f"{top} without a version"


def _import_file(path: Path) -> Any:  # noqa: ANN401 - a module of the user's
    name = f"attnbench_local_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def origin(entry: metadata.EntryPoint) -> str:
    """Return the distribution of an entry point, with its version."""
    return _named(entry.dist) if entry.dist else "an unknown distribution"


@cache
def _named(distribution: metadata.Distribution) -> str:
    """Return name and version, for which each time the whole description of a package is parsed."""
    return f"{distribution.name} {distribution.version}"


def _kind(found: object) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"


def _elsewhere(module: object, attribute: str) -> str:
    """Return in which part of a package a class is, empty if in none that it has loaded."""
    package = f"{getattr(module, '__name__', '')}."
    there = [name for name, part in [*sys.modules.items()] if name.startswith(package) and attribute in vars(part)]
    return f"write {min(there, key=len)}:{attribute}" if there else ""


def _public_classes(module: object) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, type) and not name.startswith("_")]
