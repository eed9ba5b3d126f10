"""What `make mutants` found: killed and all mutants by module, and the diff of each survivor."""

import json
import subprocess
import sys
from pathlib import Path

#: Exit codes of pytest, or of mutmut for it: a test failed, or did not end in time.
KILLED = {1, 3, 24, 36, 152, 255, -24}

ROOT = Path(__file__).parent.parent


def verdicts():
    """Yield the module and the exit code by mutant of each mutated file."""
    for path in sorted((ROOT / "mutants" / "deep_nb").glob("*.meta")):
        yield path.name.removesuffix(".meta"), json.loads(path.read_text())["exit_code_by_key"]


def main():
    survivors, sums = [], [0, 0]
    print("| module | killed | mutants | share |\n|---|---|---|---|")
    for module, codes in verdicts():
        lived = [name for name, code in codes.items() if code not in KILLED]
        row(f"`{module}`", len(codes) - len(lived), len(codes))
        survivors += lived
        sums = [sums[0] + len(codes) - len(lived), sums[1] + len(codes)]
    row("all", *sums)
    for name in survivors:
        print(
            subprocess.check_output(
                [Path(sys.executable).parent / "mutmut", "show", name], text=True
            )
        )


def row(name, killed, mutants):
    print(f"| {name} | {killed} | {mutants} | {killed / mutants:.1%} |")


if __name__ == "__main__":
    main()
