"""Run mutmut; then the diff of each survivor, and killed and all mutants by module."""

import json
import subprocess
import sys
from pathlib import Path

from mutmut.__main__ import cli

#: Exit codes of pytest, or of mutmut for it: a test failed, or did not end in time.
KILLED = {1, 3, 24, 36, 152, 255, -24}

#: What share of each module's mutants has to be killed.
LEAST = 0.9

ROOT = Path(__file__).parent.parent


def report():
    counts = {}
    for path in sorted((ROOT / "mutants" / "deep_nb").rglob("*.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        survivors = [name for name, code in codes.items() if code not in KILLED]
        counts[f"`{path.stem}`"] = len(codes) - len(survivors), len(codes)
        for name in survivors:
            subprocess.run([Path(sys.executable).with_name("mutmut"), "show", name], check=True)
    counts["all"] = tuple(map(sum, zip(*counts.values(), strict=True)))
    print("| module | killed | mutants | share |\n|---|---|---|---|")
    for name, (killed, mutants) in counts.items():
        print(f"| {name} | {killed} | {mutants} | {killed / mutants:.1%} |")
    return min(killed / mutants for killed, mutants in counts.values()) < LEAST


if __name__ == "__main__":
    cli(["run", *sys.argv[1:]], standalone_mode=False)
    sys.exit(report())
