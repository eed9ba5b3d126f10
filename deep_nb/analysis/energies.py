r"""Lyapunov energies: how far a trajectory is from rest, along the phases of a run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from numpy.typing import ArrayLike

from deep_nb._validation import in_order, one_of, real_array, short
from deep_nb.analysis.matrices import diagonal_certificate
from deep_nb.analysis.stability import (
    PHASES,
    clipped_problem_of,
    jacobian,
    rest_point,
    rule_fields,
    weights_after,
)
from deep_nb.engines import get_engine
from deep_nb.problem import Problem
from deep_nb.randomness import probe_states
from deep_nb.rest import settle


def _sum(away: Float[np.ndarray, "*stack n"]) -> Float[np.ndarray, "*stack"]:
    return np.abs(away).sum(axis=-1)


def _largest(away: Float[np.ndarray, "*stack n"]) -> Float[np.ndarray, "*stack"]:
    return np.abs(away).max(axis=-1)


#: Norms of the distance from rest, by name.
NORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"l1": _sum, "linf": _largest}


def energy(
    path: xr.Dataset, run: xr.Dataset, P: ArrayLike | None = None, norm: str = "quadratic"
) -> xr.DataArray:
    r"""Return the Lyapunov energy along both phases of a trajectory.

    .. math:: V(s) = (s - s^*)^\top P (s - s^*), \qquad V_1(s) = \lVert s - s^* \rVert_1, \qquad
              V_\infty(s) = \lVert s - s^* \rVert_\infty

    with s* the rest point of the phase that the step belongs to, for each sample (H. K. Khalil,
    *Nonlinear Systems*, 3rd ed., ch. 4; for the norms, `contraction_rate_l1`).

    Parameters
    ----------
    path : xarray.Dataset
        As returned by `deep_nb.trajectory`.
    run : xarray.Dataset
        The run that `path` was computed from.
    P : array_like, shape (K, n, n), optional
        Of the quadratic energy; by default the `diagonal_certificate` of each network.
    norm : str
        "quadratic", "l1" or "linf".

    Returns
    -------
    xarray.DataArray
        ``V (seed, step, sample)``; NaN where a network has no P or no rest point was found. The
        last free state is also the start of the nudged phase; its V belongs to the free phase.

    Raises
    ------
    ValueError
        If `run` is not a run with the hard sigmoid, `path` is not a trajectory of it, `norm` is
        unknown, or P does not fit.

    See Also
    --------
    deep_nb.trajectory : Both phases, step by step.
    phase_energy : Along one of the phases that the run's rule learns from.
    deep_nb.plotting.plot_energy : Draws the energies of certified networks.

    Examples
    --------
    >>> import deep_nb
    >>> leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    >>> run = deep_nb.train(leaky, "or", seeds=range(2), hyper={"n_epochs": 5})
    >>> V = deep_nb.analysis.energy(deep_nb.trajectory(run), run)
    >>> free = V.sel(step=V["phase"] == "free")
    >>> bool((free.diff("step") <= 1e-15).all())  # falls at every step
    True
    """
    problem = clipped_problem_of(run)
    K, n = run.sizes["seed"], problem.layout.n_free
    _check_path(path, run, problem)
    if one_of(norm, ("quadratic", *NORMS), "norm") != "quadratic":
        if P is not None:
            raise ValueError(f"P belongs to the norm 'quadratic': give P or norm={norm!r}")
    elif P is None:
        P = diagonal_certificate(jacobian(run))[..., None] * np.eye(n)
    else:
        free = problem.layout.labels[-n:]
        seeds = run["seed"].values.tolist()
        P = real_array(in_order(P, "P", seed=seeds, post=free, pre=free), "P")
        if P.shape != (K, n, n) or not np.isfinite(P).all():
            raise ValueError(f"P must be finite and of shape {(K, n, n)}, got {short(P)}")
    S = path["S"].values[..., problem.layout.N_X :]
    V = np.full(S.shape[:3], np.nan)
    for phase in PHASES:
        rest = rest_point(run, phase=phase)
        steps = path["phase"].values == phase
        away = S[:, steps] - rest.S[:, None]
        values = NORMS[norm](away) if P is None else np.einsum("ktmi,kij,ktmj->ktm", away, P, away)
        V[:, steps] = np.where(rest.found[:, None, None], values, np.nan)
    attrs = {"long_name": "Lyapunov energy", "units": "1"}
    coords = {name: path[name] for name in ("seed", "step", "phase")}
    return xr.DataArray(V, dims=("seed", "step", "sample"), coords=coords, attrs=attrs, name="V")


def _check_path(path: Any, run: xr.Dataset, problem: Problem) -> None:
    if (
        not isinstance(path, xr.Dataset)
        or not {"S", "phase", "step", "seed"} <= set(path.variables)
        or not path["phase"].dims == path["step"].dims == ("step",)
    ):
        raise ValueError(f"path must be a dataset as from deep_nb.trajectory, got {short(path)}")
    if "conditions" in path.attrs:
        raise ValueError(
            "path must be of the run's own task and β, with no neuron clamped: for others, call "
            "deep_nb.trajectory with energy=True"
        )
    shape = (run.sizes["seed"], len(path["phase"]), len(problem.X), problem.layout.N)
    if path["S"].shape != shape or path["S"].dtype.kind != "f":
        raise ValueError(f"path must be of this run: S of shape {shape}, got {path['S'].shape}")
    clamped = path["S"].values[..., : problem.layout.N_X]
    labels = path["neuron"].values.tolist() if "neuron" in path.coords else None
    if labels != problem.layout.labels or not (clamped == problem.X).all():
        raise ValueError("path must be of this run, with its neurons and samples in their order")
    same = [path.attrs.get(name) == run.attrs[name] for name in ("model", "task", "hyper")]
    if not all(same) or not np.array_equal(path["seed"].values, run["seed"].values):
        raise ValueError("path must be of this run, with the same settings and seeds")


def phase_energy(
    run: xr.Dataset, phase: str = "free", epoch: int = -1, norm: str = "l1"
) -> xr.DataArray:
    r"""Return the distance from rest along a phase that the run's rule learns from.

    V is :math:`\lVert s - s^* \rVert_1` or :math:`\lVert s - s^* \rVert_\infty`, with s* the rest
    point of the phase's own field that the path goes to, for each sample. It is known up to
    1e-9 / τ over the rate of contraction. The free phase starts from the network's own
    states, the others from its last state. Where `phase_report` certifies the phase by the method
    "l1" or "linf", V in that norm falls by its factor at every step.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`, of a model with the hard sigmoid.
    phase : str
        A phase of `phase_report`: "free", "+β" or "-β". In contrast to `energy`, the nudged ones
        are those of the rule: for ``onesided`` and ``asymep`` with the antisymmetric part of J
        reversed.
    epoch : int
        Number of epochs trained, −1 for all; others need ``record=("weights",)``.
    norm : str
        "l1" or "linf".

    Returns
    -------
    xarray.DataArray
        ``V (seed, step, sample)``, from the phase's start; NaN where no rest point was found, for
        steps not performed and for diverged networks.

    Raises
    ------
    ValueError
        If `run` is not such a run, has no weights of that epoch, its rule has no such phase, or
        `norm` is unknown.

    See Also
    --------
    phase_report : Which phases are certified, by which norm.
    energy : Along a trajectory of both phases.

    Examples
    --------
    >>> import deep_nb
    >>> model = deep_nb.DEEP.replace(
    ...     name="contracting", leak=0.2, absolute_outflow=True, rule="asymep"
    ... )
    >>> hyper = {"n_epochs": 5, "beta": 0.1, "dt_W": 0.3}
    >>> run = deep_nb.train(model, "or", seeds=range(2), hyper=hyper)
    >>> V = deep_nb.analysis.phase_energy(run, "-β", norm="linf")
    >>> bool((V.diff("step") <= 1e-15).all())  # falls at every step
    True
    """
    problem = clipped_problem_of(run)
    W, b = weights_after(run, epoch)
    one_of(norm, NORMS, "norm")
    start = probe_states(run["seed"].values, len(problem.X), problem.layout)
    relax = get_engine("auto", problem.layout.n_free, "hard_sigmoid")
    free_phase, nudged_phase = problem.phases(trajectory=True)
    free_field = problem.fields(W, b)[0]
    moving = relax(free_field, start, free_phase)
    fields = rule_fields(problem, W, b, moving.S)
    if one_of(phase, fields, "phase") != "free":
        moving = relax(fields[phase], moving.S, nudged_phase)
    assert moving.trajectory is not None
    rest = settle(fields[phase], problem.hyper.dt, start=moving.S)
    V = NORMS[norm](moving.trajectory - rest.S[:, None])
    V[~rest.found | run["diverged"].values] = np.nan
    attrs = {"long_name": "distance from rest", "units": "1"}
    coords = {"seed": run["seed"].values, "step": np.arange(V.shape[1])}
    return xr.DataArray(V, dims=("seed", "step", "sample"), coords=coords, attrs=attrs, name="V")
