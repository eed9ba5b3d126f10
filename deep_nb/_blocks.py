"""Checkpoints: finished pieces of a long computation, kept to go on from after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from typing import Any

import xarray as xr

from deep_nb._files import replacing, sha256
from deep_nb._provenance import code
from deep_nb.kinds import FUNCTION, MAPPING, a, as_path, takes


@takes(what=MAPPING, make=FUNCTION)
def kept(
    folder: str | os.PathLike[str] | None, what: dict[str, Any], make: Callable[[], xr.Dataset]
) -> xr.Dataset:
    """Return a piece from where it was kept; make it, and keep it, if it is not there.

    A piece is found again only for the same `what`, source files of this package and versions of
    libraries, and only if its file is undamaged: the checksum is part of its name.

    Parameters
    ----------
    folder : path-like or None
        Made if need be. None: nothing is kept.
    what : dict
        All that the piece depends on, as JSON types.
    make : callable
        Makes the piece.

    Raises
    ------
    ValueError
        If `folder` is no path, `what` not made of JSON types, or `make` no function that returns a
        dataset.
    TypeError
        If `make` takes arguments.
    OSError
        If the folder cannot be written to, or the disk is full.
    """
    if folder is None:
        return make()
    place = as_path(folder, "folder")
    try:
        text = json.dumps([what, code()], sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"what must be made of JSON types: {error}") from None
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    for path in place.glob(f"{key}-*.nc"):
        if path.stem == f"{key}-{sha256(path)}":
            return xr.load_dataset(path, engine="netcdf4")
        path.unlink()  # cut off or changed on the disk
    piece = make()
    a(xr.Dataset).check(piece, "what make returns")
    place.mkdir(parents=True, exist_ok=True)
    fresh = place / f".{key}-{uuid.uuid4().hex}.nc"  # two processes may make the same piece
    with replacing(fresh) as partial:
        piece.to_netcdf(partial, engine="netcdf4")
    fresh.replace(place / f"{key}-{sha256(fresh)}.nc")
    return piece
