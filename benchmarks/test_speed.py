"""The rows of the table: each a ratio of two things measured in one run."""

import subprocess
import sys
import time
from functools import partial

import matplotlib as mpl
import numba
import numpy as np
import pytest
from distributed import Client, LocalCluster

import deep_nb
from deep_nb import plotting
from deep_nb.dynamics import Field, Phase
from deep_nb.engines import ENGINES, compiled
from deep_nb.kernels.vectors import LANES, load, store
from deep_nb.run import problem_of

mpl.use("agg")


def seconds(function, rounds=3):
    """Return the least time that a call took."""
    best = np.inf
    for _ in range(rounds):
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def timed(benchmark, function, rounds=3):
    """Return the least time that a call took, measured by pytest-benchmark."""
    benchmark.pedantic(function, rounds=rounds, warmup_rounds=1)
    return benchmark.stats.stats.min


def published(seeds, engine, **hyper):
    return deep_nb.train("DEEP", "xor", seeds=seeds, engine=engine, hyper=hyper)


@pytest.fixture(scope="session")
def reference_alone():
    """Seconds that the NumPy reference takes for one network at published settings."""
    return seconds(lambda: published(0, "reference"), rounds=1)


@pytest.fixture(scope="session")
def reference_together():
    """Seconds a network when the NumPy reference trains 100 at a time (a tenth of the epochs)."""
    return 10 * seconds(lambda: published(range(100), "reference", n_epochs=20), rounds=1) / 100


def test_ensemble(benchmark, row, reference_alone, reference_together):
    each = timed(benchmark, lambda: published(range(100), "numba")) / 100
    ratio = reference_alone / each
    row(
        "DEEP, XOR, published settings, 100 seeds, all cores: a network, against the NumPy "
        "reference one network at a time",
        "≥ 300×, ≤ 15 ms (stretch 8 ms)",
        f"{ratio:.0f}×, {1000 * each:.1f} ms",
        ratio >= 300 and each <= 0.015,
        ratio=ratio,
        milliseconds=1000 * each,
    )
    beside = reference_together / each
    row(
        "the same, against the NumPy reference with 100 networks at a time",
        "—",
        f"{beside:.0f}×",
        None,
        ratio=beside,
    )


@numba.njit(nogil=True)
def multiply_add_loop(factors, sums, steps):
    """Eight independent chains of vector multiply–adds that never leave the registers."""
    m, b = load(factors, 0, 1), load(factors, 1, 1)
    s0, s1, s2, s3 = load(sums, 0, 1), load(sums, 1, 1), load(sums, 2, 1), load(sums, 3, 1)
    s4, s5, s6, s7 = load(sums, 4, 1), load(sums, 5, 1), load(sums, 6, 1), load(sums, 7, 1)
    for _ in range(steps):
        s0, s1, s2, s3 = s0 * m + b, s1 * m + b, s2 * m + b, s3 * m + b
        s4, s5, s6, s7 = s4 * m + b, s5 * m + b, s6 * m + b, s7 * m + b
    store(sums, 0, s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7)


def test_share_of_the_bound(benchmark, row):
    """One thread on one epoch (both phases) of 100 networks with the weights of epoch 50."""
    run = published(range(100), "numba", n_epochs=50)
    problem = problem_of(run)
    hyper = problem.hyper
    field, nudged = problem.fields(run["W"].values, run["b"].values)
    operations = 0

    class Counting(compiled.Compiled):
        def _run(self, kernel, head, size, least, cost, tail):
            nonlocal operations
            operations += kernel(*head, 0, size, np.zeros(1, np.int64), *tail)

    relax = Counting(1)
    common = {"dt": hyper.dt, "activation": "hard_sigmoid"}
    start = np.full((100, 4, problem.layout.n_free), 0.05)

    def epoch():
        nonlocal operations
        operations = 0
        free = relax(field, start, Phase(T=hyper.T1, **common))
        relax(nudged, free.S, Phase(T=hyper.T2, stdp=(0.0, 1.0), **common))

    rate = operations_rate(timed(benchmark, epoch, rounds=10), operations)
    factors, sums = np.array([[0.999] * LANES, [0.001] * LANES]), np.zeros((8, LANES))
    multiply_add_loop(factors, sums, 10)
    steps = 1_000_000
    bound = operations_rate(
        seconds(lambda: multiply_add_loop(factors, sums, steps), 5), 8 * LANES * steps
    )
    row(
        "multiply–adds really performed, against a register-resident multiply–add loop, one core",
        "≥ 45 %",
        f"{rate / bound:.0%} ({rate:.1f} of {bound:.1f} G/s)",
        rate / bound >= 0.45,
        share=rate / bound,
        performed=rate,
        bound=bound,
    )


def operations_rate(elapsed, operations):
    return operations / elapsed / 1e9


def test_one_network(benchmark, row, reference_alone):
    each = timed(benchmark, lambda: published(0, "numba"))
    ratio = reference_alone / each
    row("one network alone, against the reference", "≥ 40×", f"{ratio:.0f}×, {each:.2f} s",
        ratio >= 40, ratio=ratio, seconds=each)  # fmt: skip


def test_scaling(benchmark, row):
    train = partial(deep_nb.train, "DEEP", "xor", seeds=range(512))
    one, two = (seconds(partial(train, threads=n), 5) for n in (1, 2))
    benchmark.pedantic(lambda: None, rounds=1)
    row("512 networks on two threads, against one", "≥ 1.8×",
        f"{one / two:.2f}× ({one:.2f} → {two:.2f} s)", one / two >= 1.8,
        one=one, two=two)  # fmt: skip


def test_decision_map(benchmark, row):
    run = published(5, "numba")
    points = np.random.default_rng(0).uniform(size=(50, 2))
    one = seconds(lambda: [deep_nb.predict(run, [x], "reference") for x in points], 1) / 50
    whole = timed(benchmark, lambda: deep_nb.decision_map(run, 100, "numba"))
    ratio = one * 101**2 / whole
    name = "decision map 101 × 101, against one point at a time with the reference"
    row(name, "≥ 300×", f"{ratio:.0f}×, {whole:.3f} s", ratio >= 300, ratio=ratio, seconds=whole)


def test_fifteen_experiments(benchmark, row):
    def experiments():
        for model in deep_nb.MODELS:
            for task in deep_nb.TASKS:
                deep_nb.train(model, task, seeds=range(100), engine="numba")

    elapsed = timed(benchmark, experiments, rounds=1)
    row("15 experiments (3 models × 5 tasks) × 100 seeds, published settings", "≤ 60 s",
        f"{elapsed:.1f} s", elapsed <= 60, seconds=elapsed)  # fmt: skip


def test_peak_memory(benchmark, row):
    # Not ru_maxrss: a child's starts at its parent's.
    code = (
        "import deep_nb; deep_nb.train('DEEP', 'xor', seeds=range(100));"
        "status = open('/proc/self/status').read(); print(status.split('VmHWM:')[1].split()[0])"
    )

    def measure():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return float(done.stdout) * 1.024 / 1000

    peak = benchmark.pedantic(measure, rounds=1, warmup_rounds=1)
    row("peak memory of the whole process, 100 seeds, no record (machine code from the disk cache)",
        "≤ 280 MB", f"{peak:.0f} MB", peak <= 280, megabytes=peak)  # fmt: skip


GROWTH = {
    "seeds": ([10, 30, 100, 300, 1000], lambda k: published(range(k), "auto", n_epochs=20)),
    "N": ([9, 17, 33, 65, 129], lambda N: published(range(10), "auto", n_epochs=5, N_H=[N - 4])),
    "T": ([100, 300, 1000, 3000, 10_000],
          lambda T: published(range(100), "auto", n_epochs=2, T1=T, T2=T, dt=1e-5)),
}  # fmt: skip


def test_growth(benchmark, row):
    curves = {name: [seconds(partial(run, x)) for x in sizes]
              for name, (sizes, run) in GROWTH.items()}  # fmt: skip
    benchmark.pedantic(lambda: None, rounds=1)
    exponents = {
        name: np.polyfit(np.log(GROWTH[name][0]), np.log(times), 1)[0].item()
        for name, times in curves.items()
    }
    with mpl.rc_context(plotting.STYLE):
        figure, axes = mpl.pyplot.subplots(1, 3, figsize=(plotting.TWO_COLUMNS, 2.4), sharey=True)
        for ax, (name, times) in zip(axes, curves.items(), strict=True):
            ax.loglog(GROWTH[name][0], times, "o-", color=plotting.BLUE)
            ax.set(xlabel=name, title=f"exponent {exponents[name]:.2f}")
        axes[0].set_ylabel("seconds")
        figure.suptitle("Time to train DEEP on XOR")
        caption = "Seconds of training over seeds, neurons N and steps T, with fitted exponents"
        plotting.save_figure(figure, "figures/benchmarks", "growth", caption)
    measured = ", ".join(f"{name} {exponent:.2f}" for name, exponent in exponents.items())
    row("growth: fitted exponents over seeds 10 → 1000, N 9 → 129, T 100 → 10 000",
        "at most linear in seeds and T", measured,
        exponents["seeds"] <= 1.05 and exponents["T"] <= 1.05,
        exponents=exponents, sizes={name: sizes for name, (sizes, _) in GROWTH.items()},
        seconds=curves)  # fmt: skip


def _gather_nothing(executor):
    return list(executor.map(abs, range(1000)))


def test_workers(benchmark, row):
    """One and two worker processes of Dask, one thread each, on the same networks."""
    train = partial(deep_nb.train, "DEEP", "xor", seeds=range(512), threads=1)
    alone = seconds(train)
    times, tasks = {}, {}
    for n_workers in (1, 2):
        with (
            LocalCluster(
                n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            executor = client.get_executor(pure=False)
            times[n_workers] = seconds(partial(train, executor=executor))
            tasks[n_workers] = seconds(partial(_gather_nothing, executor)) / 1000
    benchmark.pedantic(lambda: None, rounds=1)
    one = published(range(32), "numba").nbytes / 32
    efficiency = times[1] / (2 * times[2])
    row("512 networks on 1 and 2 Dask workers of one thread, against one thread without Dask",
        "—", f"{alone:.2f} s without; 1 worker {times[1]:.2f} s, 2 workers {times[2]:.2f} s: "
        f"efficiency {efficiency:.0%}; {1000 * tasks[2]:.2f} ms an empty task, "
        f"{one / 1000:.0f} kB a network", None,
        alone=alone, seconds=times, task_seconds=tasks, bytes_per_network=one)  # fmt: skip


def test_crossover(benchmark, row):
    """Compiled against BLAS engine over the number of free neurons: a phase of 300 steps."""
    rng = np.random.default_rng(0)
    ratios = {}
    for activation, sizes in (
        ("hard_sigmoid", (8, 16, 32, 48, 64, 128)),
        ("tanh", (8, 16, 32, 48)),
    ):
        for n in sizes:
            for K, M in ((1, 4), (20, 4), (1, 64)):
                scale = 0.5 / np.sqrt(n)
                field = Field(
                    rng.normal(0, scale, (K, n, n)), rng.normal(0, 0.3, (K, M, n)), np.ones((K, n))
                )
                S = rng.uniform(size=(K, M, n))
                options = {"dt": 0.01, "T": 300, "activation": activation, "stdp": (0.0, 1.0)}
                numba_time, blas_time = (
                    seconds(partial(ENGINES[name](None), field, S, Phase(**options)))
                    for name in ("numba", "blas")
                )
                ratios[f"{activation} n={n} K={K} M={M}"] = blas_time / numba_time
    benchmark.pedantic(lambda: None, rounds=1)
    for activation in ("hard_sigmoid", "tanh"):
        measured = "; ".join(
            f"{key.removeprefix(activation).strip()}: {ratio:.1f}×"
            for key, ratio in ratios.items()
            if key.startswith(activation)
        )
        row(f"compiled against BLAS engine, {activation}, by free neurons n, networks K, samples M",
            "—", measured, None, ratios=ratios)  # fmt: skip
