"""Calls from several threads at a time: each gets its result, and the process stays as it was."""

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

import deep_nb
from deep_nb import plotting
from deep_nb.dynamics import Phase
from deep_nb.engines import blas
from deep_nb.plotting.style import STYLE, new_axes

from .test_engines import problem

PHASE = Phase(dt=0.1, T=5, activation="hard_sigmoid")


def blas_threads():
    """Of all libraries but the one of a solver of CVXPY, which has one thread at all times."""
    libraries = [library for library in blas._libraries() if "scs.libs" not in library.filepath]
    return {library.num_threads for library in libraries}


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        yield


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_blas_has_one_thread_until_the_last_call_ends(first_ends_first, rng, monkeypatch):
    field, S = problem(rng, K=1)
    begun = {name: threading.Event() for name in "ab"}
    may_end = {name: threading.Event() for name in "ab"}
    seen, relax_one = {}, blas._relax_one

    def wait(*arguments):
        name = threading.current_thread().name
        assert blas_threads() == {1}
        begun[name].set()
        assert may_end[name].wait(10)
        seen[name] = blas_threads()
        return relax_one(*arguments)

    monkeypatch.setattr(blas, "_relax_one", wait)
    threads = {n: threading.Thread(target=blas.relax, args=(field, S, PHASE), name=n) for n in "ab"}
    for name, thread in threads.items():
        thread.start()
        assert begun[name].wait(10)
    for name in "ab" if first_ends_first else "ba":
        assert blas_threads() == {1}
        may_end[name].set()
        threads[name].join()
    assert seen == {"a": {1}, "b": {1}}
    assert blas_threads() == {2}
    monkeypatch.undo()
    blas.relax(field, S, PHASE)
    assert blas_threads() == {2}


@pytest.mark.slow
def test_two_calls_at_a_time_have_the_bits_of_one(rng):
    """The short call ends while the long one, whose products BLAS would share, goes on."""
    field, S = problem(rng, K=2, M=150, n=140)
    short, long = replace(PHASE, T=2), replace(PHASE, T=300, stdp=(0.0, 1.0))
    alone = blas.relax(field, S, long)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(blas.relax, field, S, phase) for phase in (short, long)]
        at_once = both[1].result()
    for name, array in alone.arrays().items():
        assert array.tobytes() == getattr(at_once, name).tobytes(), name
    assert blas_threads() == {2}


def test_the_classifier_has_the_same_bits_whatever_the_threads_of_blas(rng):
    """Products of SciPy's BLAS as of NumPy's, large enough for two threads."""
    X, y = rng.uniform(size=(64, 200)), np.arange(64) % 10
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            model = deep_nb.DEEPClassifier(N_H=300, n_epochs=1, batch_size=64, random_state=0)
            found.append(model.fit(X, y).W_)
            assert blas_threads() == {threads}
    np.testing.assert_array_equal(*found)


def test_blas_has_its_threads_again_after_an_error(rng, monkeypatch):
    monkeypatch.setattr(blas, "_relax_one", None)
    with pytest.raises(TypeError, match="not callable"):
        blas.relax(*problem(rng), PHASE)
    assert blas_threads() == {2}


class Library:
    """A BLAS whose number of threads each thread has for itself, as OpenBLAS with OpenMP."""

    internal_api, threading_layer = "openblas", "openmp"

    def __init__(self):
        self.local = threading.local()

    @property
    def num_threads(self):
        return getattr(self.local, "number", 4)

    def set_num_threads(self, number):
        self.local.number = number


def test_a_thread_may_have_its_own_number(monkeypatch):
    library = Library()
    monkeypatch.setattr(blas, "_libraries", lambda: [library])
    seen = []

    def call():
        with blas.one_thread():
            seen.append(library.num_threads)
        seen.append(library.num_threads)

    with blas.one_thread():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        seen.append(library.num_threads)
    assert [*seen, library.num_threads] == [1, 4, 1, 4]


def drawn(run):
    """A figure of each kind: on axes of the caller, on new ones, of several panels."""
    grid = pd.DataFrame(
        {"model": "DEEP", "task": "xor", "N_H": 2, "N_H_factor": 1.0, "beta_factor": 1.0,
         "dt_W_factor": [1.0, 10.0], "seed": 0, "learned": [True, False]}
    )  # fmt: skip
    yield plotting.plot_mse(run, Figure().subplots()).figure
    yield plotting.plot_mse(run).figure
    yield plotting.plot_robustness(grid, "DEEP")


def saved(figures, folder):
    folder.mkdir(exist_ok=True)
    files = [plotting.save_figure(figure, folder, f"{i}", "c") for i, figure in enumerate(figures)]
    return [file.read_bytes() for pair in files for file in pair]


@pytest.mark.slow
def test_a_figure_that_is_being_saved_leaves_those_of_others(short_run, tmp_path, monkeypatch):
    expected = saved(drawn(short_run), tmp_path / "alone")
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    before = dict(mpl.rcParams)
    saving, may_end = threading.Event(), threading.Event()
    savefig = Figure.savefig

    def wait(*arguments, **options):
        saving.set()
        assert may_end.wait(10)
        savefig(*arguments, **options)

    monkeypatch.setattr(Figure, "savefig", wait)
    arguments = plotting.plot_mse(short_run).figure, tmp_path, "other", "c"
    thread = threading.Thread(target=plotting.save_figure, args=arguments)
    thread.start()
    try:
        assert saving.wait(10)
        changed = {name for name, value in before.items() if mpl.rcParams[name] != value}
        assert changed == {"svg.hashsalt", "svg.fonttype"}
        ax = plotting.plot_mse(short_run, Figure().subplots())
        assert ax.get_legend().get_frame_on()
        small = ax.get_legend().get_texts()[0].get_fontsize()
        assert small == 0.8 * mpl.rcParams["font.size"]
        second = threading.Thread(target=plotting.save_figure, args=(ax.figure, *arguments[1:]))
        saving.clear()
        second.start()
        assert not saving.wait(0.1)
        mpl.rcParams["lines.linewidth"] = 7.5  # by another thread, which keeps it
    finally:
        may_end.set()
        thread.join()
    second.join()
    kept, mpl.rcParams["lines.linewidth"] = (
        mpl.rcParams["lines.linewidth"],
        before["lines.linewidth"],
    )
    assert kept == 7.5
    assert dict(mpl.rcParams) == before
    monkeypatch.undo()
    assert saved(drawn(short_run), tmp_path / "after") == expected


def test_plots_change_no_setting_of_the_process(short_run, monkeypatch):
    changed, change = set(), mpl.RcParams.__setitem__

    def noted(settings, name, value):
        changed.add(name)
        change(settings, name, value)

    plt.figure()  # pyplot may choose its backend first
    monkeypatch.setattr(mpl.RcParams, "__setitem__", noted)
    own, new, panels = drawn(short_run)
    assert changed == set()
    assert new.get_size_inches().tolist() == list(STYLE["figure.figsize"])
    (bar,) = panels.axes[-1:]
    for ax in (new.axes[0], bar):
        shown = (ax.title, ax.yaxis.label, *ax.get_yticklabels())
        assert {text.get_fontsize() for text in shown} == {8}
    assert own.axes[0].yaxis.label.get_fontsize() == mpl.rcParams["font.size"] == 10


@pytest.mark.slow
def test_two_threads_draw_and_save_what_one_does(short_run, tmp_path):
    expected = saved(drawn(short_run), tmp_path / "alone")
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda name: saved(drawn(short_run), tmp_path / name), "ab")
        assert [*results] == [expected] * 2


def test_pyplot_makes_one_figure_at_a_time(monkeypatch):
    """It would give the same number, and so the same figure, to both threads."""
    inside, most, subplots = [], [], plt.subplots

    def slow(*arguments, **options):
        inside.append(None)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return subplots(*arguments, **options)

    monkeypatch.setattr(plt, "subplots", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: new_axes()[0], range(2))
    assert first is not second
    assert most == [1, 1]


@pytest.mark.parametrize("engine", ["reference", "blas", "numba"])
def test_overflow_in_one_thread_leaves_the_errors_of_another(engine):
    """Each thread has NumPy's settings and sees its own."""
    seen = []
    hyper = {"n_epochs": 3, "T1": 9, "T2": 9, "dt_W": 1.7e308, "reg_W": 1.7e308}
    wanted = {"hyper": hyper, "sign": True, "regularized": True, "engine": engine}

    def overflow():
        with np.errstate(over="raise"):
            deep_nb.train("DEEP", "xor", seeds=range(2), **wanted)
            seen.append(np.geterr()["over"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # networks diverged
        filters = list(warnings.filters)
        threads = [threading.Thread(target=overflow) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(warnings.filters) == filters
    assert seen == ["raise", "raise"]


def test_a_limit_inside_a_limit_changes_nothing():
    limit = blas._OneThread()
    for _ in range(2):
        with limit():
            with limit():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {2}
