import errno
import os
import pickle
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

import deep_nb
from deep_nb.analysis.criterion import network_table
from deep_nb.plotting import plot_mse, plot_weights

from .conftest import SHORT, assert_same, refused


def test_save_and_load_give_the_same_run(model_run, tmp_path):
    path = deep_nb.save(model_run, tmp_path / "new" / "run.nc")
    loaded = deep_nb.load(path)
    xr.testing.assert_identical(loaded, model_run)
    assert all(loaded[name].dtype == model_run[name].dtype for name in model_run.data_vars)
    assert [p.name for p in path.parent.iterdir()] == ["run.nc"]


def test_a_saved_run_can_be_trained_again_from_its_file_alone(tmp_path):
    mask = deep_nb.train("EP_asym", "or", seeds=1, hyper=SHORT)["mask"].values.copy()
    mask[2, 3] = False
    model = deep_nb.EP_asym.replace(name="mine", leak=0.7, outflow=0.2, absolute_outflow=True)
    task = deep_nb.Task("odd", [[0.1, 0.2], [0.3, 0.9]], [[0.2], [0.7]])
    run = deep_nb.train(
        model, task, seeds=[8, 3], hyper={**SHORT, "stop": 0.01}, topology=mask,
        regularized=True, sparse=True, stop_criterion=True, record=("weights", "trajectories"),
    )  # fmt: skip
    path = deep_nb.save(run, tmp_path / "run.nc")
    assert_same(deep_nb.train(**deep_nb.settings(deep_nb.load(path))), run)


def test_saving_replaces_a_file_whole(short_run, tmp_path):
    path = tmp_path / "run.nc"
    path.write_text("something else")
    deep_nb.save(short_run, path)
    xr.testing.assert_identical(deep_nb.load(path), short_run)


def test_saving_into_a_file_as_a_folder_fails_and_leaves_nothing(short_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        deep_nb.save(short_run, tmp_path / "file" / "run.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_is_reported_with_the_name_of_the_run(
    short_run, tmp_path, monkeypatch
):
    def refuse(path, **kwargs):
        raise OSError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    path = tmp_path / "run.nc"
    with refused(f"[Errno {errno.EACCES}] Permission denied: {str(path)!r}", PermissionError):
        deep_nb.save(short_run, path)


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_loading_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.nc").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"run\.nc is not a readable netCDF file"):
        deep_nb.load("run.nc")
    assert not (tmp_path / "exploded").exists()


def test_other_files_are_not_loaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        deep_nb.load(tmp_path / "none.nc")
    with netCDF4.Dataset(tmp_path / "other.nc", "w") as other:
        other.createDimension("seed", 2)
        other.createVariable("mse", "f8", ("seed",))
    with pytest.raises(ValueError, match=r"not a run of deep_nb\.train"):
        deep_nb.load(tmp_path / "other.nc")


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.assign_attrs(model="{"),
        lambda run: run.assign_attrs(model="[" * 100_000),
        lambda run: run.assign_attrs(hyper='{"dt": 0.1}'),
        lambda run: run.assign_attrs(flags='{"fast": true}'),
        lambda run: run.assign_attrs(engine="abacus"),
        lambda run: run.assign_attrs(record='["foo"]'),
        lambda run: run.drop_vars("X"),
        lambda run: run.drop_vars("W"),
        lambda run: run.drop_vars("mse_free"),
        lambda run: run.drop_vars("seed"),
        lambda run: run.isel(seed=0),
        lambda run: run.isel(seed=[]),
        lambda run: run.isel(post=slice(3)),
        lambda run: run.isel(pre=slice(None, None, -1), post=slice(None, None, -1)),
        lambda run: run.transpose("seed", "post", "pre", ...),
        lambda run: run.assign(W=run["W"] * np.nan),
        lambda run: run.assign(W=run["W"].astype(str)),
        lambda run: run.assign(mask=~run["mask"]),
        lambda run: run.assign_coords(seed=[0, 0, 1]),
        lambda run: run.assign_coords(seed=[0, -1, 1]),
        lambda run: xr.Dataset(),
        lambda run: None,
    ],
)
def test_damaged_runs_are_refused(change, short_run, tmp_path):
    for use in (
        lambda run: deep_nb.predict(run, [[0, 1]]),
        deep_nb.trajectory,
        network_table,
        plot_mse,
        plot_weights,
        lambda run: deep_nb.save(run, tmp_path / "run.nc"),
    ):
        with pytest.raises(ValueError, match=r".+"):
            use(change(short_run))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 5, "", ".", "a\0b"])
def test_bad_paths_are_refused(path, short_run):
    for use in (lambda path: deep_nb.save(short_run, path), deep_nb.load):
        with pytest.raises(ValueError, match=r"path|folder"):
            use(path)


def test_a_run_larger_than_the_memory_is_refused():
    hyper = {"n_epochs": 1_000_000, "T1": 1_000_000}
    with pytest.raises(ValueError, match=r"this run needs about .* GB"):
        deep_nb.train("DEEP", "xor", seeds=0, hyper=hyper, record=("trajectories",))


def test_json_attributes_hold_the_setting(short_run):
    assert '"name":"DEEP"' in short_run.attrs["model"]
    assert '"n_epochs":4' in short_run.attrs["hyper"]
    assert np.array_equal(short_run["Y"].values[:, 0], [0, 1, 1, 0])


def test_a_pipe_or_a_device_is_not_replaced(short_run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="pipe exists and is not a regular file"):
        deep_nb.save(short_run, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    "attributes", [{"scale_factor": "abc"}, {"add_offset": "abc"}, {"coordinates": np.int32(3)}]
)
def test_malformed_attributes_are_refused(short_run, tmp_path, attributes):
    path = deep_nb.save(short_run, tmp_path / "run.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["mse_free"].setncatts(attributes)
    with pytest.raises(ValueError, match=r"run\.nc is not a readable netCDF file"):
        deep_nb.load(path)


@pytest.mark.parametrize("seeds", [range(10**11), range(10**30)])
def test_too_many_networks_are_refused_at_once(seeds):
    with pytest.raises(ValueError, match="at most 10000000 seeds are allowed, got range"):
        deep_nb.train("DEEP", "xor", seeds=seeds)


def test_files_of_the_version_before_are_refused_in_one_sentence(short_run, tmp_path):
    names = {name: name.replace("nudged", "weak") for name in short_run.data_vars}
    old = short_run.rename({**names, "b": "B", "b_epochs": "B_epochs", "db_norm": "dB_norm"})
    old.to_netcdf(tmp_path / "old.nc")
    for read in (lambda: deep_nb.load(tmp_path / "old.nc"), lambda: deep_nb.settings(old)):
        with pytest.raises(
            ValueError, match=r"^this run was saved by deep_nb 0\.1, .*train it again"
        ):
            read()
