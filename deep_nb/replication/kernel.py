"""The kernel of an experiment: this Python and this package, without settings of the user.

`deep_nb.replication.execution` starts ``python -m deep_nb.replication.kernel``. The kernel writes
down what it runs. It does not start if its code is not the code that the batch has recorded.
"""

import json
import sys
from pathlib import Path
from typing import Any

import zmq
from ipykernel.kernelapp import IPKernelApp

from deep_nb._files import write_text
from deep_nb._provenance import PACKAGE, code, differences, provenance
from deep_nb.replication.scratch import ORIGIN, REQUEST


class Kernel(IPKernelApp):
    """IPython's kernel without configuration and start-up files."""

    def load_config_file(self, *_: Any, **__: Any) -> None:
        """Leave out the files of IPython's profiles."""

    def init_path(self) -> None:
        """Let the notebook import the modules beside it, before installed ones, as in Jupyter."""
        installed = [i for i, path in enumerate(sys.path) if path.endswith("-packages")]
        sys.path.insert(installed[0] if installed else 0, "")

    def init_iopub(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Keep all output for papermill: ZeroMQ would drop what waits beyond 1000 messages."""
        context.setsockopt(zmq.SNDHWM, 0)
        super().init_iopub(context)  # type: ignore[no-untyped-call]

    def init_code(self) -> None:
        """Leave out IPython's start-up files and PYTHONSTARTUP."""


def main(arguments: list[str]) -> None:
    """Compare this code with the code of the batch, and start the kernel."""
    scratch = Path(arguments[arguments.index("-f") + 1]).parent
    request = json.loads((scratch / REQUEST).read_text(encoding="utf-8"))
    expected = {name: request["fingerprint"][name] for name in code()}
    changed = differences(expected, code())
    error = f"the kernel runs other code, from {PACKAGE}: {'; '.join(changed)}" if changed else ""
    write_text(scratch / ORIGIN, json.dumps({"error": error, "provenance": provenance()}))
    if error:
        sys.exit(error)
    Kernel.launch_instance(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
