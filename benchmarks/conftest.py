"""Collects the rows of the benchmarks into one table, one JSON file and the page."""

import json
import platform
import re
from datetime import date
from pathlib import Path

import numba
import numpy as np
import pytest

HERE = Path(__file__).parent
HEADER = "| row | target | measured | met |\n|---|---|---|---|\n"
MET = {True: "yes", False: "**no**", None: "—"}
rows = []


@pytest.fixture
def row(benchmark):
    """Write down one row: what was measured, beside its target."""

    def write(name, target, measured, met, **values):
        benchmark.extra_info.update(values)
        met = None if met is None else bool(met)
        rows.append({"row": name, "target": target, "measured": measured, "met": met, **values})

    return write


def table():
    return HEADER + "".join(
        f"| {r['row']} | {r['target']} | {r['measured']} | {MET[r['met']]} |\n" for r in rows
    )


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    if not rows:
        return
    terminalreporter.write_line("\n" + table())
    if exitstatus == 0 and not config.option.keyword and "::" not in str(config.args):
        machine = {
            "processor": processor(),
            "llvm_name": numba.config.CPU_NAME or "host",
            "threads": numba.config.NUMBA_NUM_THREADS,
            "numba": numba.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "date": date.today().isoformat(),
        }
        results = {"machine": machine, "rows": rows}
        (HERE / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        page = HERE / "README.md"
        caption = (
            f"{machine['processor']}, {machine['threads']} cores, Numba {machine['numba']}, "
            f"NumPy {machine['numpy']}, {machine['date']}:\n\n"
        )
        text = re.sub(
            r"(<!-- table -->\n).*?(<!-- end -->)",
            lambda match: match[1] + caption + table() + match[2],
            page.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
        page.write_text(text, encoding="utf-8")
