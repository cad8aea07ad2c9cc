from io import StringIO

from rich.console import Console

from attnbench.cli.progress import loading


def test_what_is_loaded_is_shown_on_a_terminal_as_it_is_written_and_nowhere_else() -> None:
    shown = {}
    for terminal in (True, False):
        console = Console(file=StringIO(), force_terminal=terminal, width=80)
        with loading(console) as tell:
            tell("./mine.py:[bold]Hangs")
        shown[terminal] = console.file.getvalue()
    assert "loading ./mine.py:[bold]Hangs" in shown[True]
    assert not shown[False]
