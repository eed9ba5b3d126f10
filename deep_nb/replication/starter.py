"""What a new folder of experiments starts from: this package's notebooks and experiments file."""

from pathlib import Path

from deep_nb._files import write_bytes
from deep_nb._provenance import PACKAGE, STARTER
from deep_nb.replication.names import EXPERIMENTS


def lay_out(folder: Path) -> list[Path]:
    """Copy the notebooks and the experiments file into a new or empty folder; return the copies."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose another folder")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: choose another folder")
    root = STARTER if STARTER.is_dir() else PACKAGE.parent  # of a wheel, or of a checkout
    copies = []
    for source in (root / EXPERIMENTS, *sorted((root / "notebooks").glob("*.ipynb"))):
        copies.append(folder / source.relative_to(root))
        write_bytes(copies[-1], source.read_bytes())
    return copies
