"""The rules of the house: who may import whom, and what stays unimported until it is needed."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from attnbench.axes import AXES
from attnbench.metrics import METRICS

ROOT = Path(__file__).parents[1]
CHILDREN = {"joint.py", "lockstep.py", "rerun.py", "revision.py", "side.py", "starts.py"}
"""Modules of compare that import torch: the child, and what keeps two of them in step, with the probe."""
HARNESS = sorted((ROOT / "attnbench").rglob("*.py"))
PICTURE = (ROOT / "docs" / "design.md").read_text().split("```")[1]


def pictured(heading: str) -> list[str]:
    """Return the entries of ``attnbench`` that stand in the picture of the tree below a heading."""
    section = next(each for each in PICTURE.split("\n  -- ") if each.startswith(heading))
    return [line.split()[0].rstrip("/") for line in section.splitlines()[1:] if line.startswith("  ")]


AUTHORS = {"mechanism.py", "testing.py"}
"""What authors of plugins import, which is torch's; the other shared words are for the parent too."""
PARENT = sorted(
    path
    for entry in {*pictured("the shared words"), *pictured("the parent: no torch")} - AUTHORS
    for path in [ROOT / "attnbench" / entry, *(ROOT / "attnbench" / entry).rglob("*.py")]
    if path.suffix == ".py" and path.name not in CHILDREN
)
LIGHT = ["torch", "pandas", "timm", "numpy", "rich", "matplotlib", "attnbench.mechanisms"]


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", HARNESS, ids=module_name)
def test_the_harness_knows_no_mechanism_by_import(path: Path) -> None:
    assert not {name for name in imports(path) if f"{name}.".startswith(("mechanisms.", "attnbench.mechanisms."))}


def test_the_picture_in_the_design_names_every_entry_of_the_tree() -> None:
    named = {line.split()[0].rstrip("/") for line in PICTURE.splitlines() if line.startswith("  ") and line.strip()}
    entries = {path.name for path in (ROOT / "attnbench").iterdir() if not path.name.startswith("__")} - {"py.typed"}
    assert named - {"--", "<name>"} == entries


NO_CODE = {"plugins/templates", "report/html/vega"}
TESTS_OF_MORE = {"benchmarks", "docs", "faults", "fuzz", "golden", "helpers", "mechanisms"}
"""Folders of tests that are none of ``attnbench``."""


def test_tests_are_a_folder_for_each_folder_of_the_harness() -> None:
    def folders(root: Path) -> set[str]:
        return {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py")} - {"."}

    tested = {name for name in folders(ROOT / "tests") if name.split("/")[0] not in TESTS_OF_MORE}
    assert tested == folders(ROOT / "attnbench") - NO_CODE


def test_files_that_text_names_are_there() -> None:
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tox.ini", *(ROOT / "docs").rglob("*.md")]
    named = {name for path in texts for name in re.findall(r"\b(?:tests|docs)/[\w/-]+\.(?:py|md)\b", path.read_text())}
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_folder_of_mechanisms_holds_folders_only() -> None:
    files = {path.name for path in (ROOT / "mechanisms").iterdir() if path.is_file()}
    assert files == {"__init__.py", "py.typed"}


def test_what_is_installed_takes_no_name_but_attnbench() -> None:
    """The folder at the top is imported by a link, here and installed; a package of its name would be in the way."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert asked == {"include": ["attnbench*"]}
    assert (ROOT / "attnbench" / "mechanisms").readlink() == Path("../mechanisms")


def test_imports_form_no_circle() -> None:
    modules = {module_name(path): path for path in HARNESS}
    graph = {name: imports(path, top_level=True) & modules.keys() - {name} for name, path in modules.items()}
    # A package's own __init__ is imported first by every module below it, which is no circle.
    graph = {name: {other for other in found if not name.startswith(f"{other}.")} for name, found in graph.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_nothing_imports_the_command_line_but_itself() -> None:
    """Whoever starts the harness from Python, or takes a part of it, has no use for click."""
    importers = {path for path in HARNESS if any(f"{name}.".startswith("attnbench.cli.") for name in imports(path))}
    assert {path.relative_to(ROOT).as_posix() for path in importers if path.parent.name != "cli"} == {
        "attnbench/__main__.py"
    }


@pytest.mark.parametrize(
    "module", ["attnbench.cli.main", "attnbench.plugins.registry", "attnbench.plugins.source", "attnbench.record"]
)
def test_listing_leaves_the_heavy_packages_unimported(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {LIGHT!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", PARENT, ids=module_name)
def test_nothing_of_the_parent_names_torch_where_it_is_imported(path: Path) -> None:
    assert not {
        name for name in imports(path, top_level=True) if name.split(".")[0] in {"torch", "timm", "torchvision"}
    }


def test_the_parent_measures_without_torch() -> None:
    parent = ", ".join(module_name(path) for path in PARENT if path.name != "__main__.py")
    code = f"import sys, {parent}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_only_the_table_of_axes_lists_axes() -> None:
    """A tuple, a dict, a class or a parameter list that names four axes or more is another table of them."""
    allowed = {
        "attnbench/axes.py",
        "attnbench/record.py",  # the keys of format 1
        "attnbench/plan/request.py",  # the names of folders before axes had a table
        "attnbench/report/spreadsheet.py",  # the columns that records.csv promises to begin with
        "attnbench/claims/plan.py",  # the order in which commands of claims were always written
        "attnbench/claims/claim.py",  # those that a check says in its own way
        "attnbench/plan/sweep.py",  # a scope, its heads and sizes go together
        "attnbench/mechanism.py",  # what a layer is built for
        "attnbench/pytest_bridge/call.py",  # the fixture's parameters, which tests/pytest_bridge holds to the table
    }
    names = {*AXES, *(name for axis in AXES.values() for name in (*axis.fields, *axis.columns))}
    found = {}
    for path in HARNESS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            texts = []
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                texts = [each.value for each in node.elts if isinstance(each, ast.Constant)]
            elif isinstance(node, ast.Dict):
                texts = [each.value for each in node.keys if isinstance(each, ast.Constant)]
            elif isinstance(node, ast.arguments):
                texts = [each.arg for each in (*node.args, *node.kwonlyargs)]
            elif isinstance(node, ast.ClassDef):
                texts = [ast.unparse(each.target) for each in node.body if isinstance(each, ast.AnnAssign)]
            listed = names.intersection(text for text in texts if isinstance(text, str))
            if len(listed) > 3:
                found[path.relative_to(ROOT).as_posix()] = sorted(listed)

    assert {path: listed for path, listed in found.items() if path not in allowed} == {}


def test_no_public_class_name_is_defined_twice() -> None:
    places: dict[str, list[str]] = {}
    for path in [*HARNESS, *sorted((ROOT / "mechanisms").rglob("*.py"))]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_folder_of_mechanisms_is_an_entry_point_and_loads() -> None:
    folders = {path.parent.name for path in (ROOT / "mechanisms").glob("*/__init__.py")}
    entries = {entry.name.replace("-", "_"): entry for entry in entry_points(group="attnbench.mechanisms")}
    assert folders <= entries.keys()
    for folder in folders:
        assert entries[folder].load().__module__.startswith(f"attnbench.mechanisms.{folder}")


def test_only_the_command_line_prints_or_exits() -> None:
    callers = set()
    for path in HARNESS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "sys.exit", "exit"}:
                prints_elsewhere = any(keyword.arg == "file" for keyword in node.keywords)
                if not prints_elsewhere:
                    callers.add(module_name(path))
    assert {name for name in callers if not name.startswith("attnbench.cli.")} == set()


OWN_FILES = {
    "attnbench.report.html.bundle": "what is installed with attnbench",
    "attnbench.plugins.scaffold": "the same",
    "attnbench.runs.job": "between a parent and its child",
    "attnbench.store.lease": "just written",
    "attnbench.fleet.leases": "just written",
    "attnbench.fleet.presence": "of the kernel",
    "attnbench.models.checkpoint": "asked before whether it is a file",
    "attnbench.models.tensors.pytorch": "known by its first bytes",
    "attnbench.models.tensors.flax": "known by its first bytes",
    "attnbench.models.tensors.npz": "known by its first bytes",
    "attnbench.accuracy.data.images": "found to be a file",
    "attnbench.runtimes.ort": "just written",
    "attnbench.store.timed_calls": "of bytes that were read",
}
"""Who reads otherwise than by ``attnbench/files.py``, and why what it reads is a file and no pipe."""


def test_what_others_wrote_is_read_by_one_reader() -> None:
    otherwise = re.compile(r"\.read_text\(|\.read_bytes\(|\.open\((\"r|encoding)|np\.load\(")
    found = {module_name(path) for path in HARNESS if otherwise.search(path.read_text())}
    others = {name for name in found if name.split(".")[1] not in {"child", "devices", "worker"}}
    assert others == set(OWN_FILES)


def test_only_child_starts_processes() -> None:
    starters = {
        path
        for path in HARNESS
        if imports(path) & {"subprocess", "multiprocessing", "pty"}
        or re.search(r"os\.(fork|exec|spawn|system|popen)", path.read_text())
    }
    assert {path.parent for path in starters} == {ROOT / "attnbench" / "child"}


def test_dependencies_have_lower_bounds_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all("<" not in line and "==" not in line and ">=" in line for line in project["dependencies"])


KINDS = {"cuda", "mps", "xpu", "hpu", "npu", "xla"}
"""Kinds of devices. The CPU is none: it is the default of what a cell is, and always there."""


def kinds_named(path: Path) -> set[str]:
    """Return the kinds of devices that a module's code names: as a word of a string, an attribute or a name."""
    tree = ast.parse(path.read_text())
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    texts |= {id(each.value) for node in ast.walk(tree) if isinstance(node, ast.Call) for each in node.keywords
              if each.arg == "help"}  # fmt: skip
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            found |= set(re.findall(r"[a-z]+", node.value.lower()))
        elif isinstance(node, ast.Attribute):
            found |= set(node.attr.lower().split("_"))
        elif isinstance(node, ast.Name):
            found |= set(node.id.lower().split("_"))
        elif isinstance(node, ast.alias):
            found |= set(re.findall(r"[a-z]+", node.name.lower()))
    return found & KINDS


@pytest.mark.parametrize("path", [path for path in HARNESS if "devices" not in path.parts], ids=module_name)
def test_only_devices_names_a_kind_of_device(path: Path) -> None:
    allowed = {"attnbench.probes.kernels": {"mps"}}  # the names of torch's operators, as its profiler gives them
    assert kinds_named(path) <= allowed.get(module_name(path), set())


def test_the_rule_about_kinds_sees_what_it_is_about() -> None:
    assert kinds_named(ROOT / "attnbench" / "devices" / "cuda.py") == {"cuda"}


METRIC_TABLES = {
    "attnbench.metrics": "the table",
    "attnbench.accuracy": "measures them",
    "attnbench.worker": "measures them",
    "attnbench.roofline": "works them out",
    "attnbench.store.pytest_json": "reads what pytest-benchmark measured",
    "attnbench.record": "what they were called in format 1",
    "attnbench.report.attained": "the terms of one formula",
    "attnbench.report.spreadsheet": "the order of records.csv, which outlives that of the table",
}
"""Who may name three metrics in one place, and why."""


def metrics_named_together(path: Path) -> set[str]:
    """Return the names of metrics in the first tuple, list, set, dict or text of a module that has three or more."""
    for node in ast.walk(ast.parse(path.read_text())):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            found = [*node.elts]
        elif isinstance(node, ast.Dict):
            found = [*node.keys, *node.values]
        texts = [each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts = node.value.split()
        named = METRICS.keys() & set(texts)
        if len(named) >= 3:
            return set(named)
    return set()


@pytest.mark.parametrize("path", HARNESS, ids=module_name)
def test_only_the_table_of_metrics_and_who_measures_them_list_metrics(path: Path) -> None:
    if not any(f"{module_name(path)}.".startswith(f"{allowed}.") for allowed in METRIC_TABLES):
        assert not metrics_named_together(path)


def test_whoever_is_allowed_a_list_of_metrics_has_one() -> None:
    with_a_list = [module_name(path) for path in HARNESS if metrics_named_together(path)]
    for allowed in METRIC_TABLES:
        assert any(f"{name}.".startswith(f"{allowed}.") for name in with_a_list)


CLOCKS = re.compile(r"\btime\.(time|monotonic|perf_counter|process_time)(_ns)?\(")


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_nothing_but_a_benchmark_asserts_how_long_something_took(path: Path) -> None:
    """What must end ends by pytest-timeout, or by a timeout of the process that a test starts."""
    assert "benchmarks" in path.parts or not CLOCKS.search(path.read_text())
