"""Blocks of seeds: computed on the workers of an executor, and kept in checkpoints."""

import contextlib
import hashlib
import json
import os
import platform
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import Any

import xarray as xr
from tqdm import tqdm

from deep_nb._files import NETCDF, replacing, sha256
from deep_nb._provenance import code, differences


def kept(
    folder: str | os.PathLike[str] | None, what: dict[str, Any], make: Callable[[], xr.Dataset]
) -> xr.Dataset:
    """Return a piece from its checkpoint, or make it and keep it.

    A checkpoint is valid for the same `what` (everything that the piece depends on, as JSON
    types), the same source files of this package and the same versions of libraries, and only
    while its file is undamaged: the checksum is part of its name. Without a folder, nothing is
    kept.
    """
    if folder is None:
        return make()
    place = Path(folder)
    text = json.dumps([what, code()], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    for path in place.glob(f"{key}-*.nc"):
        if path.stem == f"{key}-{sha256(path)}":
            with NETCDF:
                return xr.load_dataset(path, engine="netcdf4")
        path.unlink()  # truncated or changed on the disk
    piece = make()
    place.mkdir(parents=True, exist_ok=True)
    fresh = place / f".{key}-{uuid.uuid4().hex}.nc"  # two processes may make the same piece
    with NETCDF, replacing(fresh) as partial:
        piece.to_netcdf(partial, engine="netcdf4")
    fresh.replace(place / f"{key}-{sha256(fresh)}.nc")
    return piece


def check_worker(expected: dict[str, Any]) -> None:
    """Refuse to work with another version of this package, Python or a library."""
    other = differences(expected, code())
    if other:
        raise RuntimeError(
            f"worker {platform.node()} has different code or versions: {'; '.join(other)}"
        )


def fill_in(
    run: xr.Dataset,
    make: Callable[[list[int]], xr.Dataset],
    size: int,
    executor: Executor | None,
    progress: bool,
) -> None:
    """Fill in a run block by block: `make` returns the run of some of its seeds."""
    seeds = run["seed"].values.tolist()
    blocks = {first: seeds[first : first + size] for first in range(0, len(seeds), size)}
    bar = tqdm(total=len(blocks), desc="blocks", disable=not progress)
    parts: Generator[tuple[int, xr.Dataset]]
    if executor is None:
        parts = ((first, make(block)) for first, block in blocks.items())
    else:
        parts = _gathered({first: executor.submit(make, block) for first, block in blocks.items()})
    with bar, contextlib.closing(parts):
        for first, part in parts:
            for name in run.data_vars:
                if "seed" in run[name].dims:
                    run[name].values[first : first + part.sizes["seed"]] = part[name].values
            bar.update()


def _gathered(futures: dict[int, Future[xr.Dataset]]) -> Generator[tuple[int, xr.Dataset]]:
    """Yield results as they arrive; cancel the others if one fails or the caller stops."""
    firsts = {future: first for first, future in futures.items()}
    try:
        for future in as_completed(firsts):
            yield firsts[future], future.result()
    finally:
        for future in firsts:
            future.cancel()
