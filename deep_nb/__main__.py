"""``python -m deep_nb``: the command line."""

from deep_nb.cli import main

main(prog_name="deep-nb")
