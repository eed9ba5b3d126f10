"""Break the package in small ways, and count what the tests notice.

First the faults of `planted.yml`, planted by hand where mutmut cannot change anything: machine
code, decorated functions, notebooks, templates, processes. Then those of mutmut, with the diff of
each survivor.
"""

import argparse
import contextlib
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

#: Exit codes of pytest: a test failed, or could not be collected. None: it did not end in time.
NOTICED = {1, 2, None}

#: Seconds in which the tests of a planted fault must end.
TIMEOUT = 300

#: Exit codes of pytest, or of mutmut for it: a test failed, or did not end in time.
KILLED = {1, 3, 24, 36, 152, 255, -24}

#: Seconds of tests with which a mutant is tried, the quickest ones first, and their least number.
#: Most are noticed at once; the others are tried a second time.
SECONDS, TESTS = (1.5, 7.0), 5

#: Tests that workers need not start anew: what these import and compile is there in each fork.
WARM = ["tests/test_dynamics.py", "tests/test_plotting.py", "tests/test_statistics.py"]

#: What share of each module's mutants has to be killed.
LEAST = 0.9

#: How many planted faults are tried at a time.
JOBS = 2

ROOT = Path(__file__).parent.parent


def planted(word=""):
    """Try the planted faults; print those that no test notices, and return whether there are any.

    Each has a ``file``, a text ``old`` that occurs in it once, the text ``new`` in its place, and
    the ``tests`` (arguments of pytest) that should notice.
    """
    faults = yaml.safe_load((ROOT / "tests" / "planted.yml").read_text(encoding="utf-8"))
    faults = [fault for fault in faults if word in fault["file"]]
    if not faults:
        sys.exit(f"no planted fault is in a file whose path contains {word!r}")
    for fault in faults:
        count = (ROOT / fault["file"]).read_text(encoding="utf-8").count(fault["old"])
        if count != 1:
            sys.exit(f"{fault['file']}: {fault['old']!r} occurs {count} times, not once")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(JOBS) as pool:
        copies = queue.SimpleQueue()
        for n in range(JOBS):
            copies.put(copy_tracked(Path(folder, str(n))))

        def try_one(fault):
            copy = copies.get()
            code = run_with(fault, copy)
            copies.put(copy)
            return code

        needed = " ".join(sorted({test for fault in faults for test in fault["tests"].split()}))
        if try_one({"file": "README.md", "old": "", "new": "", "tests": needed}) != 0:
            sys.exit("the tests fail without any fault")
        codes = list(pool.map(try_one, faults))
    missed = [fault for fault, code in zip(faults, codes, strict=True) if code not in NOTICED]
    for fault in missed:
        print(f"{fault['file']}\n- {fault['old']}\n+ {fault['new']}\n")
    print(f"planted by hand: {len(faults) - len(missed)} of {len(faults)} noticed")
    return bool(missed)


def copy_tracked(folder):
    """Copy the files that git tracks into a folder; return it."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def run_with(fault, copy):
    """Run a fault's tests in a copy that has the fault; return pytest's exit code or None."""
    path = copy / fault["file"]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(fault["old"], fault["new"]) if fault["old"] else text, "utf-8")
    tests = [sys.executable, "-m", "pytest", "-x", "-q", *fault["tests"].split()]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        options = {"capture_output": True, "timeout": TIMEOUT}
        return subprocess.run(tests, cwd=copy, env=environment, **options).returncode
    except subprocess.TimeoutExpired:
        return None
    finally:
        path.write_text(text, "utf-8")


def mutated(modules, sample, max_children):
    """Run mutmut; print survivors and a table, and return whether a module falls short.

    `modules` is a regular expression that their paths contain. A sample is so many mutants of each
    module, drawn at random; 0 stands for all.
    """
    from mutmut import __main__ as program
    from mutmut.state import state
    from mutmut.workers.isolation import ForkRunner

    wait = ForkRunner.wait_for_result
    collect, gather = program.collect_or_load_stats, program.collect_source_file_mutation_data
    slow, budgets = system(), iter(SECONDS)

    def collect_and_choose(*arguments, **options):
        state().tests_by_mangled_function_name.clear()  # lists, since the first round
        collect(*arguments, **options)
        tests, seconds = state().tests_by_mangled_function_name, state().duration_by_test
        budget = next(budgets)
        for name in tests:
            tests[name] = quickest(tests[name] - slow or tests[name], seconds, budget)

    def gather_sample(**options):
        mutants, files = gather(**options)
        random.Random(0).shuffle(mutants)
        tried = {}
        for mutant in mutants:
            if not re.search(modules, str(mutant[0].path)):
                continue
            tried.setdefault(mutant[0].path, []).append(mutant)
        return [mutant for some in tried.values() for mutant in some[: sample or None]], files

    def wait_for_mutant(runner, timeout=None):
        while True:
            with contextlib.suppress(KeyError):  # a process that a test has left
                return wait(runner, timeout)

    def warm_up(runner, tests):
        os.chdir("mutants")
        runner.test_runner.execute_pytest(["-q", "-m", "not system", *WARM])
        os.chdir("..")
        return 0

    program.collect_or_load_stats = collect_and_choose
    program.collect_source_file_mutation_data = gather_sample
    program.run_forced_fail_test = lambda runner: None  # it would run all tests once more
    ForkRunner.run_clean_tests = warm_up  # the statistics have run them all
    ForkRunner.wait_for_result = wait_for_mutant
    survivors = []
    for _ in SECONDS:
        command = ["run", "--max-children", str(max_children), *survivors]
        program.cli(command, standalone_mode=False)
        counts, survivors = counted()
        if not survivors:
            break
    for name in survivors:
        subprocess.run([Path(sys.executable).with_name("mutmut"), "show", name], check=True)
    print("| module | killed | tried | share |\n|---|---|---|---|")
    for name, (killed, tried) in counts.items():
        print(f"| {name} | {killed} | {tried} | {killed / tried:.1%} |")
    return min(killed / tried for killed, tried in counts.values()) < LEAST


def counted():
    """Return the mutants killed and tried of each module and of all, and who survived."""
    counts, survivors = {}, []
    for path in sorted((ROOT / "mutants" / "deep_nb").rglob("*.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        codes = {name: code for name, code in codes.items() if code is not None}
        alive = [name for name, code in codes.items() if code not in KILLED]
        module = path.relative_to(ROOT / "mutants" / "deep_nb").with_suffix("")
        if codes:
            counts[f"`{module}`"] = len(codes) - len(alive), len(codes)
        survivors += alive
    counts["all"] = tuple(map(sum, zip(*counts.values(), strict=True)))
    return counts, survivors


def system():
    """Return the tests that start processes: they serve only where no other test can notice."""
    options = ["-o", "addopts=", "-q", "--collect-only", "-m", "system", "tests"]
    command = [sys.executable, "-m", "pytest", *options]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {line for line in done.stdout.splitlines() if "::" in line}


def quickest(tests, seconds, budget):
    """Return the quickest tests of a function that together take the time allowed."""
    chosen, total = [], 0.0
    for test in sorted(tests, key=lambda test: seconds.get(test, 0.0)):
        total += seconds.get(test, 0.0)
        if total > budget and len(chosen) >= TESTS:
            break
        chosen.append(test)
    return chosen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--planted", metavar="WORD", help="only faults of planted.yml in files "
                        "whose path contains WORD")  # fmt: skip
    parser.add_argument("--modules", default="", metavar="REGEX", help="only mutants of modules "
                        "whose path contains this, and no planted faults")  # fmt: skip
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N mutants of "
                        "each module, drawn at random")  # fmt: skip
    parser.add_argument("--max-children", type=int, default=2, metavar="N", help="workers")
    given = parser.parse_args()
    if given.planted is not None:
        sys.exit(planted(given.planted))
    missed = not given.modules and planted()
    sys.exit(missed | mutated(given.modules, given.sample, given.max_children))
