"""``python -m attnbench.cli``."""

from attnbench.cli.main import main

main()
