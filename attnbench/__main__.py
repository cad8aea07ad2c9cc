"""``python -m attnbench``."""

from attnbench.cli.main import main

main()
