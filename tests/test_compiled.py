"""The compiled engine: its bits do not depend on ensemble, threads or, without tanh, processor."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import deep_nb
from deep_nb.dynamics import Phase
from deep_nb.engines import compiled
from deep_nb.engines.compiled import Compiled
from deep_nb.kernels import phases
from deep_nb.kernels.lanes import BURST

from .conftest import SHORT
from .test_engines import problem
from .test_training import bits

system = pytest.mark.system

HARD = {"dt": 0.1, "activation": "hard_sigmoid"}


def same_bits(first, second, but=()):
    """Whether two relaxations keep the same arrays, with the same bits."""
    one, other = ({k: v.tobytes() for k, v in r.arrays().items()} for r in (first, second))
    return {**one, **dict.fromkeys(but)} == {**other, **dict.fromkeys(but)}


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{}, {"sparse": True}, {"stop_criterion": True}])
@pytest.mark.parametrize("model", ["DEEP", "DEEP_oh", "EP_asym"])
def test_same_seed_same_bits_over_ensembles_and_threads(model, flags):
    hyper = {**SHORT, "stop": 0.1, "tol_W": 0.05}
    common = {"hyper": hyper, "engine": "numba", **flags}
    runs = [
        deep_nb.train(model, "xor", seeds=range(K), threads=threads, **common)
        for K in (1, 7, 8, 100)
        for threads in (1, 2)
    ]
    whole = runs[-1]
    for run in runs:
        assert bits(run) == bits(whole.sel(seed=run["seed"]))
    shuffled = np.random.default_rng(0).permutation(100)
    again = deep_nb.train(model, "xor", seeds=shuffled, **common)
    assert bits(again) == bits(whole.sel(seed=shuffled))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 11])
@pytest.mark.parametrize("stdp", [None, (0.0, 1.0), (0.3, 0.7)])
@pytest.mark.parametrize("T", [1, 2, BURST, BURST + 1, 200])
def test_lanes_are_plain_double_precision_arithmetic(n, stdp, T, rng):
    """Python's floats round every product and every sum once, in the order written: so do lanes."""
    field, S = problem(rng, K=2, M=3, n=n)
    result = Compiled(1)(field, S, Phase(T=T, stdp=stdp, **HARD))
    beta_0, beta_1 = stdp or (0.0, 0.0)
    for k in range(2):
        A = field.W[k].tolist()
        for j in range(n):
            A[j][j] -= field.decay[k, j].item()
        pairing = np.zeros((n, n))
        for m in range(3):
            s, drive = S[k, m].tolist(), field.drive[k, m].tolist()
            sums, change = [[0.0] * n for _ in range(n)], [0.0] * n
            for _ in range(T):
                ds = list(drive)
                for j in range(n):
                    for i in range(n):
                        ds[j] = ds[j] + A[i][j] * s[i]
                before, s = s, [min(max(s[j] + 0.1 * ds[j], 0.0), 1.0) for j in range(n)]
                for j in range(n):
                    v = beta_0 * s[j] + beta_1 * (s[j] - before[j])
                    change[j] = change[j] + v
                    for i in range(n):
                        sums[i][j] = sums[i][j] + s[i] * v
            assert result.S[k, m].tolist() == s
            pairing = pairing + np.array(sums)
            if stdp:
                assert result.change[k, m].tolist() == change
        if stdp:
            assert result.pairing[k].tolist() == pairing.tolist()


@pytest.mark.parametrize("M", [1, 4, 6])
@pytest.mark.parametrize("n", [1, 6, 8, 13, 45])
@pytest.mark.parametrize("stdp", [None, (0.0, 1.0), (0.3, 0.7)])
def test_lanes_and_neurons_side_by_side_give_the_same_bits(stdp, n, M, rng, monkeypatch):
    field, S = problem(rng, K=3, M=M, n=n)
    phase = Phase(T=100, stdp=stdp, **HARD)
    monkeypatch.setattr(compiled, "FEW", 100)
    lanes = Compiled(2)(field, S, phase)
    monkeypatch.setattr(compiled, "FEW", 0)
    assert same_bits(lanes, Compiled(2)(field, S, phase))
    kept = Compiled(2)(field, S, replace(phase, trajectory=True))
    assert same_bits(lanes, kept, but=["trajectory"])
    assert kept.trajectory[:, -1].tobytes() == lanes.S.tobytes()
    never = Compiled(2)(field, S, replace(phase, stop=0.0))
    assert same_bits(lanes, never)


def test_stopping_at_rest_is_exact(rng):
    """A contracting network rests long before step 2000; the steps left out would add nothing."""
    field, S = problem(rng, K=3, M=4, n=5)
    field = replace(field, W=0.1 * field.W)
    short = Compiled(1)(field, S, Phase(T=2_000, stdp=(0.0, 1.0), **HARD))
    long = Compiled(1)(field, S, Phase(T=1_000_000, stdp=(0.0, 1.0), **HARD))
    assert same_bits(short, long, but=["steps"])
    assert not short.projected_residual.any()
    kept = Compiled(1)(field, S, Phase(T=2_000, stdp=(0.0, 1.0), trajectory=True, **HARD))
    assert same_bits(short, kept, but=["trajectory"])
    assert (kept.trajectory[:, -500:] == kept.S[:, None]).all()


def test_nan_is_carried_not_clipped(rng):
    field, S = problem(rng, K=2, M=2, n=5)
    field.W[1, 0, 1] = np.nan
    result = Compiled(1)(field, S, Phase(T=40, stdp=(0.0, 1.0), **HARD))
    assert np.isfinite(result.S[0]).all()
    assert np.isnan(result.S[1]).any()


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, 10**30])
def test_bad_threads_are_refused(threads):
    with pytest.raises(ValueError, match="threads must be an integer from 1 to 1024"):
        deep_nb.train("DEEP", "xor", seeds=0, hyper=SHORT, threads=threads)


def python(code, **environment):
    command, environment = [sys.executable, "-c", code], {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


#: One phase of a network: its kernel compiles sooner than that of training.
TINY = """
import numpy as np
from deep_nb.dynamics import Field, Phase
from deep_nb.engines import get_engine

field = Field(np.zeros((1, 2, 2)), np.ones((1, 1, 2)), np.ones((1, 2)))
phase = Phase(dt=0.1, T=9, activation="hard_sigmoid")
print(get_engine("numba", 2, "hard_sigmoid")(field, np.zeros((1, 1, 2)), phase).S)
"""


@system
def test_compiling_is_announced_once_and_kept(tmp_path):
    first = python(TINY, NUMBA_CACHE_DIR=str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("compiling the numba engine") == 1
    second = python(TINY, NUMBA_CACHE_DIR=str(tmp_path))
    assert second.stderr == ""
    assert second.stdout == first.stdout == "[[[0.61257951 0.61257951]]]\n"
    # Nor does a long phase in a warm start announce anything.
    slow = TINY.replace("T=9", "T=200_000_000").replace("dt=0.1", "dt=1e-12")
    assert python(slow, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""


@system
def test_large_networks_do_not_depend_on_the_threads_of_blas():
    code = (
        "import deep_nb, numpy as np, hashlib; rng = np.random.default_rng(0);"
        "task = deep_nb.Task('t', rng.uniform(size=(150, 7)), rng.integers(0, 2, (150, 1)));"
        "hyper = {'n_epochs': 2, 'N_H': [130], 'T1': 30, 'T2': 30};"
        "run = deep_nb.train('DEEP', task, seeds=0, hyper=hyper, engine='blas');"
        "print(hashlib.sha256(run['W'].values.tobytes()).hexdigest())"
    )
    one, two = (python(code, OPENBLAS_NUM_THREADS=threads) for threads in ("1", "2"))
    assert one.returncode == 0, one.stderr
    assert one.stdout == two.stdout


@system
def test_a_switched_off_compiler_is_named():
    result = python(TINY, NUMBA_DISABLE_JIT="1")
    assert "engine 'numba' cannot run while NUMBA_DISABLE_JIT is set" in result.stderr


@system
def test_no_folder_for_the_cache_is_no_error():
    # No one can write to /proc, not even root.
    result = python(
        TINY, NUMBA_CACHE_DIR="/proc/none", NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator"
    )
    assert result.returncode == 0, result.stderr


@system
def test_ctrl_c_stops_and_leaves_nothing(tmp_path):
    code = (
        # Jobs in the background of a shell inherit that SIGINT is ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import deep_nb; short = {'n_epochs': 1, 'T1': 9, 'T2': 9};"
        "deep_nb.train('DEEP', 'xor', seeds=0, hyper=short); print('ready', flush=True);"
        "long = {'n_epochs': 20000, 'T1': 100000};"  # hours
        "run = deep_nb.train('DEEP', 'xor', seeds=range(200), hyper=long);"
        f"deep_nb.save(run, {str(tmp_path / 'run.nc')!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)  # of hours
    assert "in train" in error  # not before it, nor after it
    assert error.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_while_chunks_are_handed_out_ends_those_that_run(rng, monkeypatch):
    engine, made = Compiled(1), []
    submit = engine._pool.submit

    def interrupted(*arguments):
        if made:
            raise KeyboardInterrupt
        made.append(submit(*arguments))
        return made[0]

    monkeypatch.setattr(engine._pool, "submit", interrupted)
    monkeypatch.setattr(compiled, "CHUNK", 1)
    field, S = problem(rng, K=20, M=4, n=6)
    with pytest.raises(KeyboardInterrupt):
        engine(field, S, Phase(T=10**9, dt=1e-12))
    assert made[0].result(timeout=20) < 20 * 4 * 36 * 10**9


def test_one_network_with_one_neuron_runs(rng):
    field, S = problem(rng, K=1, M=1, n=1)
    result = Compiled(4)(field, S, Phase(T=10, **HARD))
    assert result.S.shape == (1, 1, 1)


def test_large_sums_are_computed_in_parts(rng, monkeypatch):
    field, S = problem(rng, K=5, M=3, n=4)
    whole = Compiled(1)(field, S, Phase(T=30, stdp=(0.0, 1.0), **HARD))
    monkeypatch.setattr(compiled, "SUMS", 3 * 4 * 4)
    assert same_bits(whole, Compiled(1)(field, S, Phase(T=30, stdp=(0.0, 1.0), **HARD)))
    monkeypatch.setattr(compiled, "SUMS", 4 * 4)
    parts = Compiled(1)(field, S, Phase(T=30, stdp=(0.0, 1.0), trajectory=True, **HARD))
    for name, one in whole.arrays().items():  # the order of the sums differs
        np.testing.assert_allclose(one, getattr(parts, name), rtol=1e-12, atol=1e-14)
    alone = Compiled(1)(field.of(slice(1)), S[:1], Phase(T=30, stdp=(0.0, 1.0), **HARD))
    assert alone.pairing[0].tobytes() == parts.pairing[0].tobytes()


def test_halted_kernels_make_no_more_steps(rng):
    """The flag is set before the work begins."""
    field, S = problem(rng, K=2, M=3, n=4)
    A = np.ascontiguousarray(field.W)
    out = (np.empty_like(S), np.empty(6), np.empty(6), np.zeros((0, 4, 4)), np.zeros((0, 4)))
    for halted, made in ((1, 0), (0, 6 * 5 * 16)):
        halt = np.array([halted])
        wanted = (A, field.drive, S, 0, 6, halt, 6, 0.05, (0.0, 1.0), False, out)
        assert phases.relax_lanes(*wanted) == made
    steps, states = np.full(2, 99), np.empty((2, 0, 3, 4))
    wanted = (A, field.drive, S, 0, 2, np.array([1]), 10**6, 0.05, 3, 0, -1.0, (0.0, 1.0), False)
    out[1][:] = -1.0
    phases.relax_wide(*wanted, steps, states, out)
    assert steps.tolist() == [10**6, 99]
    assert (out[1] == -1.0).all()
