"""Settings for the tests, the examples in docstrings, and the notebooks alike."""

import os
import sys

import pytest

# Warnings are errors in the notebooks' kernels, too.
os.environ["PYTHONWARNINGS"] = "error::RuntimeWarning,error::UserWarning"


def pytest_collectstart(collector):
    """Let nbval compare what cells print and show, but not stderr."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
        # Coverage measures kernels as it does any process; nbval would do so once more, and hang.
        collector.config.option.cov_source = None


def pytest_collection_modifyitems(items):
    """Keep the cells of a notebook together when tests run in several processes."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
