"""Every command that the docs show is one: each parses, and those of the tutorial and of the how-tos are run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from commands_in_docs import PAGES, ROOT, Shown, blocks, commands

from attnbench.axes import AXES
from attnbench.cli.main import attnbench

SHOWN = list(dict.fromkeys(shown for page in PAGES for shown in commands(page)))
RUN = ["how-to/configure.md", pytest.param("tutorial.md", marks=pytest.mark.slow)]
"""Pages whose commands are run one after the other in a folder, at a small size."""
NOT_OURS = ("pip ", "eval ", "_ATTNBENCH", "cd ", "pytest")
SMALL = {"--res": "32,64", "--max-time": "0.1", "--repeats": "1", "--mechanisms": "qna,xca"}
"""What stands in the place of a value that would take minutes."""
ALSO = {"run": ["--scope", "layer", "--stage", "4", "--depth", "1", "--threads", "1", "--device", "cpu"]}


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_a_command_that_is_shown_parses(shown: Shown) -> None:
    name, *words = shown.words
    command = attnbench.commands[name]
    if "..." in words or any(word in {"COMMAND", "SWEEP..."} for word in words):
        return
    try:
        context = command.make_context(name, [word for word in words if word not in {"-h", "--help"}])
    except click.MissingParameter:
        assert not words, f"{shown} lacks something"  # the bare name of a command, within a sentence
        return
    for option, axis in AXES.items():
        for value in context.params.get(option.replace("-", "_")) or () if name == "run" else ():
            axis.read(value)


def test_commands_are_found_in_blocks_and_in_lines() -> None:
    pages = {shown.page for shown in SHOWN}
    assert {"README.md", "docs/tutorial.md", "docs/figures.md", "docs/how-to/ci.md"} <= pages
    assert len(SHOWN) > 40


def smaller(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    made = list(words)
    for place, word in enumerate(words[:-1]):
        if word in SMALL and not (word == "--res" and words[1] == "advise"):
            made[place + 1] = SMALL[word]
    if words[1:2] == ["advise"]:
        made[made.index("--res") + 1] = "48"
    given = {word for word in made if word.startswith("--")}
    extra = ALSO.get(words[1], []) if "--scope" not in given and not any(".toml" in word for word in made) else []
    return [*made, *extra]


@pytest.mark.parametrize("page", RUN)
def test_a_page_is_run_as_it_stands(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name, content in re.findall(r"```toml\n# (\w+\.toml)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(content)
    lines = [line for block in blocks(text) for line in block.splitlines() if not line.startswith(NOT_OURS)]
    assert lines
    for line in lines:
        command = [sys.executable, "-m", "attnbench.cli.main", *smaller(line)[1:]]
        variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=variables)
        # A self-check of one trial may miss its bar, and a budget may fit nobody on a slow machine: status 1 each.
        fine = {0, 1} if command[3] in {"selfcheck", "advise"} else {0}
        assert done.returncode in fine, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
