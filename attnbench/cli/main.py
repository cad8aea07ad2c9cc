"""The command line: its commands, and what becomes of errors, signals and a screen that is lost.

Importing it imports neither torch nor pandas.

Exit status: 0 done; 1 a gate failed, or a cell could not be explained; 2 wrong usage, or what cannot be read or
written; 3 ``--strict`` and a cell did not end ok; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from pathlib import Path

import click

from attnbench import __version__, files, inert, raised
from attnbench.cli import (
    advising,
    authoring,
    calibrating,
    explaining,
    invocation,
    many,
    measuring,
    outlet,
    reaching,
    results,
    showing,
    tasking,
    trending,
)
from attnbench.errors import AttnbenchError, InstallationError, ProcessError, UsageError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="attnbench")
def attnbench() -> None:
    """Measure attention mechanisms side by side: MACs, memory, latency, accuracy."""


for _command in (
    *(showing.list_, showing.env),
    *(measuring.run, measuring.claims, measuring.selfcheck, tasking.tasks, reaching.reach, calibrating.calibrate),
    *(many.plan, many.work, many.status),
    *(
        results.report,
        results.merge,
        advising.advise,
        results.compare,
        explaining.explain,
        trending.history,
        results.verify,
    ),
    *(authoring.new, authoring.check),
):
    attnbench.add_command(_command)


def main() -> None:
    """Run the command line; every error that attnbench raises on purpose becomes a line and a status.

    What cannot be shown costs nothing but a line. A reader that has left is no failure: it has seen what it wanted.
    """
    screen, status = outlet.guard(), 0
    try:
        _main()
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    failure = outlet.lost(screen)
    left = isinstance(failure, BrokenPipeError)
    if failure and not (left and sys.argv[1:2] not in (["run"], ["work"], ["claims"])):
        told = f"standard output: {failure.strerror}; what was measured and written is on disk"
        click.echo(f"attnbench: {'warning: ' if left else ''}{told}", err=True)
    if failure and not left:
        status = status or invocation.UNUSABLE
    if status:
        sys.exit(status)


def _main() -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _interrupt)
    warnings.showwarning = _show_warning
    try:
        _run()
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(inert.shown(shown.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except UsageError as error:
        _complain(error.mistakes)
    except AttnbenchError as error:
        _complain((str(error),))
    except (KeyboardInterrupt, click.Abort):  # while nothing was measured, or once more while what is kept was said
        click.echo("attnbench: interrupted; rows that were written are kept", err=True)
        sys.exit(invocation.INTERRUPTED)
    except (MemoryError, OSError, RuntimeError) as error:
        _complain((_refusal(error),))


def _refusal(error: MemoryError | OSError | RuntimeError) -> str:
    """Return what the system has refused this process; what it has not is raised."""
    if isinstance(error, FileNotFoundError) and not error.filename and _nowhere():
        return "the folder that this was started in is gone; cd to one that is there, and give the command again"
    if isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{where}{files.reason_of(error)}"
    if isinstance(error, MemoryError):
        return "memory ran out; what was measured is kept, and the same command goes on from there"
    if str(error) == "can't start new thread":
        return str(ProcessError("the system allows no thread more"))
    raise error


def _nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _run() -> None:
    """Run the command that was asked for.

    Raises:
        InstallationError: a package that it needs does not import.
    """
    try:
        attnbench(standalone_mode=False)
    except (AttnbenchError, click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:
        package = raised.while_importing(error)
        if package:
            raise InstallationError(package, raised.in_words(error)) from error
        raise


def _complain(mistakes: tuple[str, ...]) -> None:
    for mistake in mistakes:
        click.echo(f"attnbench: {inert.shown(mistake)}", err=True)
    sys.exit(invocation.UNUSABLE)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"attnbench: warning: {inert.shown(message)}", err=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
