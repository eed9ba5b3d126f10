"""How the batch puts files away: stamps, links, folders, and an interruption at every step."""

import json
from concurrent.futures import ThreadPoolExecutor

import deep_nb
from deep_nb._provenance import stamp


def test_threads_may_stamp_save_and_load_netcdf_files(short_run, tmp_path):
    """HDF5 is not thread-safe: without one lock for all, this test ends the process."""
    for n in range(4):
        deep_nb.save(short_run, tmp_path / f"{n}.nc")

    def work(n):
        path = tmp_path / f"{n}.nc"
        for k in range(6):
            stamp(path, {"n": n, "k": k, "long": "x" * 200})
            stamped = deep_nb.load(path)
            assert json.loads(stamped.attrs["provenance"])["k"] == k
            assert stamped.equals(short_run)
            deep_nb.save(stamped, path)
        return stamped.attrs["provenance"]

    with ThreadPoolExecutor(4) as pool:
        origins = list(pool.map(work, range(4)))
    assert [json.loads(origin)["n"] for origin in origins] == list(range(4))
