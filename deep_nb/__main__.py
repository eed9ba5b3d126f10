"""``python -m deep_nb``: the command line."""

from deep_nb.cli import main

if __name__ == "__main__":
    main(prog_name="deep-nb")
