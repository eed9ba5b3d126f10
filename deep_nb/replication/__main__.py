"""The process that executes one notebook; `deep_nb.replication.execution` starts it."""

import sys
from pathlib import Path

from deep_nb._start import skip_iri_grammar

if __name__ == "__main__":
    skip_iri_grammar()
    from deep_nb.replication.execution import main

    main(Path(sys.argv[1]))
