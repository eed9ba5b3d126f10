"""For the notebooks and the tests alike: a conftest reaches what lies beside and below it."""

import os

# For the kernels that run the notebooks: what warns there is an error, too.
os.environ["PYTHONWARNINGS"] = "error::RuntimeWarning,error::UserWarning"


def pytest_collectstart(collector):
    """Let nbval compare what cells print and show, not what they log on stderr."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
        # Kernels are measured as any process is; nbval would do so once more, and hang.
        collector.config.option.cov_source = None
