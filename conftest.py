"""Settings for the tests, the examples in docstrings, and the notebooks alike."""

import os
import re
import subprocess
import sys

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.shapes import renew

pytest_plugins = ["tests.browser"]

# Warnings are errors in the notebooks' kernels, too.
os.environ["PYTHONWARNINGS"] = "error::RuntimeWarning,error::UserWarning"


def pytest_collectstart(collector):
    """Let nbval compare what cells print and show, but not stderr."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
        collector.config.option.cov_source = None  # nbval would measure coverage, and hang


#: Trains a network and asks it. Small and large ones have their own machine code.
COMPILE = """
import deep_nb
run = deep_nb.train("DEEP", "id", seeds=0, hyper={{"n_epochs": 1, "N_H": {}}})
deep_nb.predict(run, [[0]])
"""


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    """Compile before the tests, one half in each of two processes, or all that they start would."""
    worker = getattr(session.config, "workerinput", {}).get("workerid")
    if worker in ("gw0", "gw1"):
        code = COMPILE.format(5 if worker == "gw0" else 50)
        subprocess.run([sys.executable, "-c", code], check=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Start the kernels of notebooks without coverage, which slows them; their code has tests.

    A backend of the user would not show figures, and start-up files could print.
    """
    names = ("COVERAGE_PROCESS_CONFIG", "IPYTHONDIR", "MATPLOTLIBRC", "MPLBACKEND")
    kept = {}
    if item.path.suffix == ".ipynb":
        kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        return (yield)
    finally:
        os.environ.update(kept)


#: Tests that share a batch, a kernel or a browser run one after the other in the same process.
TOGETHER = re.compile(
    r"notebooks/\w+|tests/test_(?:\w+_browser|bad_files|cli_input|explorer|kernel|report|resume)"
    r"|tests/test_(?=faults.py::test_a_(?:batch|second|pickle)|cluster.py::test_a_batch)"
)


class Scheduling(LoadScopeScheduling):
    """Gives the next test to the process that waits for one."""

    def _split_scope(self, nodeid):
        together = TOGETHER.match(nodeid)
        return together[0] if together else nodeid


def pytest_xdist_make_scheduler(config, log):
    """Let pytest-xdist schedule tests in this way."""
    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _fresh():
    """Check shapes again at the start of a test, and close its figures at the end."""
    renew()
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
