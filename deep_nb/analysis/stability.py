r"""The dynamical-systems view of a run: Jacobians, rest points, energies, a report of all verdicts.

Over the n free neurons the field is affine, with Jacobian :math:`J_{ji} = W_{ij}` for i ≠ j and
:math:`J_{jj} = -(\lambda + \gamma \sum_k W_{jk})`. `deep_nb.analysis.matrices`
says what can be proved of such a matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from deep_nb.analysis.matrices import (
    certificates,
    certifying_leak,
    contraction_rate,
    gershgorin,
    max_stable_dt,
    spectrum,
)
from deep_nb.dynamics import Field, Phase
from deep_nb.engines import get_engine
from deep_nb.kinds import (
    array,
    did_you_mean,
    integer,
    plain,
    short,
)
from deep_nb.models import MAX_COUNT
from deep_nb.randomness import probe_states
from deep_nb.run import problem_of

PHASES = ("free", "nudged")

#: A phase ended at rest if the projected speed ‖Δs‖ / dt of its last step was below this.
REST_SPEED = 1e-6


def weights_after(run: xr.Dataset, epoch: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Return W (K, N, N) and B (K, N) after `epoch` epochs of training, −1 for all of them.

    Raises
    ------
    ValueError
        If `run` is none, or `epoch` not −1 and the run did not record weights, or not from 0 to
        n_epochs.
    """
    problem_of(run)
    integer(-1, MAX_COUNT).check(epoch, "epoch")
    epoch = plain(epoch)
    if epoch == -1:
        return run["W"].values, run["b"].values
    if "W_epochs" not in run:
        raise ValueError(f"epoch {epoch} needs a run trained with record=('weights',)")
    if epoch not in range(run.sizes["snapshot"]):
        last = run.sizes["snapshot"] - 1
        raise ValueError(f"epoch must be -1 or an integer from 0 to {last}, got {epoch!r}")
    return run["W_epochs"].values[:, epoch], run["b_epochs"].values[:, epoch]


def field_after(run: xr.Dataset, epoch: int = -1, phase: str = "free") -> Field:
    """Return the vector field of a phase after `epoch` epochs; see `weights_after`.

    Raises
    ------
    ValueError
        As `weights_after`, or if `phase` is neither "free" nor "nudged", or the model's activation
        is not the hard sigmoid: what this module proves is about the clip.
    """
    problem = problem_of(run)
    if problem.model.activation != "hard_sigmoid":
        raise ValueError(
            f"stability is about the hard sigmoid, this model has {problem.model.activation!r}"
        )
    if not isinstance(phase, str) or phase not in PHASES:
        near = did_you_mean(phase, PHASES)
        raise ValueError(f"phase must be 'free' or 'nudged', got {short(phase)}{near}")
    return problem.fields(*weights_after(run, epoch))[phase == "nudged"]


def jacobian(run: xr.Dataset, epoch: int = -1, phase: str = "free") -> np.ndarray:
    """Return the Jacobian of every network; nudging takes β from the outputs' diagonal.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    epoch : int
        Epochs trained, −1 for all; others need ``record=("weights",)``.
    phase : str
        "free" or "nudged".

    Returns
    -------
    ndarray, shape (K, n, n)
        ``J[k, j, i] = ∂(ds_j/dt)/∂s_i`` over the free neurons.

    Raises
    ------
    ValueError
        As `field_after`.
    """
    return _jacobian_of(field_after(run, epoch, phase))


def _jacobian_of(field: Field) -> np.ndarray:
    J = field.W.transpose(0, 2, 1).copy()
    diagonal = np.arange(J.shape[1])
    J[:, diagonal, diagonal] -= field.decay
    return J


class RestPoint(NamedTuple):
    """States S (K, M, n), the speed ‖Δs‖/dt left (K,), and whether it is below the tolerance."""

    S: np.ndarray
    speed: np.ndarray
    found: np.ndarray


def rest_point(
    field: Field, dt: float, tolerance: float = 1e-9, start: np.ndarray | None = None
) -> RestPoint:
    r"""Look for the rest point of the clipped Euler iteration by following it.

    Certified networks have exactly one and are led to it from anywhere. Others have at least one
    (L. E. J. Brouwer, 1911: a step maps the box continuously into itself), perhaps several, and the
    iteration may come to none.

    Parameters
    ----------
    field : Field
        Of K networks, as from `field_after`.
    dt : float
        Euler step.
    tolerance : float
        Speed :math:`\lVert \Delta s \rVert / dt` over all samples that counts as rest.
    start : ndarray, shape (K, M, n), optional
        Where to start, by default 0.5.

    Returns
    -------
    RestPoint
        After at most 200 000 steps.

    Raises
    ------
    ValueError
        If an argument is something else, or their shapes do not fit.
    """
    S = np.full(field.drive.shape, 0.5) if start is None else start
    relax = get_engine("auto", S.shape[-1], "hard_sigmoid")
    for _ in range(20):
        relaxation = relax(field, S, Phase(dt, T=10_000))
        S = relaxation.S
        speed = np.sqrt(relaxation.projected_residual * S.shape[1])
        if (speed == 0).all():
            break
    return RestPoint(S, speed, speed <= tolerance)


def energy(path: xr.Dataset, run: xr.Dataset, P: np.ndarray | None = None) -> xr.DataArray:
    r"""Return the Lyapunov energy along both phases of a trajectory.

    .. math:: V(s) = (s - s^*)^\top P (s - s^*)

    with s* the rest point of the phase that the step belongs to, sample by sample.

    Parameters
    ----------
    path : xarray.Dataset
        As from `deep_nb.trajectory`.
    run : xarray.Dataset
        The run that it is of.
    P : ndarray, shape (K, n, n), optional
        By default the `diagonal_certificate` of each network.

    Returns
    -------
    xarray.DataArray
        ``V (seed, step, sample)``; NaN where a network has no P or no rest point was found. The
        last free state also starts the nudged phase, and its V is that of the free phase.

    Raises
    ------
    ValueError
        If `run` is none, `path` is no trajectory of it, or `P` does not fit.
    """
    problem = problem_of(run)
    n = problem.layout.n_free
    if (
        not isinstance(path, xr.Dataset)
        or not {"S", "phase", "step", "seed"} <= set(path.variables)
        or not path["phase"].dims == path["step"].dims == ("step",)
    ):
        raise ValueError(f"path must be a dataset as from deep_nb.trajectory, got {short(path)}")
    shape = (run.sizes["seed"], len(path["phase"]), len(problem.X), problem.layout.N)
    if path["S"].shape != shape or path["S"].dtype.kind != "f":
        raise ValueError(f"path must be of this run: S of shape {shape}, got {path['S'].shape}")
    if P is not None:
        array("K n n").check(P, "P")
        if P.shape != (shape[0], n, n) or not np.isfinite(P).all():
            raise ValueError(f"P must be finite and of shape {(shape[0], n, n)}, got {short(P)}")
    if P is None:
        P = certificates(jacobian(run))[..., None] * np.eye(n)
    S = path["S"].values[..., problem.layout.N_X :]
    V = np.full(S.shape[:3], np.nan)
    for phase in ("free", "nudged"):
        rest = rest_point(field_after(run, phase=phase), problem.hyper.dt)
        steps = path["phase"].values == phase
        away = S[:, steps] - rest.S[:, None]
        values = np.einsum("ktmi,kij,ktmj->ktm", away, P, away)
        V[:, steps] = np.where(rest.found[:, None, None], values, np.nan)
    attrs = {"long_name": "Lyapunov energy", "units": "1"}
    coords = {name: path[name] for name in ("seed", "step", "phase")}
    return xr.DataArray(V, dims=("seed", "step", "sample"), coords=coords, attrs=attrs, name="V")


def stability_report(run: xr.Dataset, epoch: int = -1) -> xr.Dataset:
    """Return every verdict and number of this module for every network of a run.

    Parameters
    ----------
    run : xarray.Dataset
        As from `deep_nb.train`.
    epoch : int
        Epochs trained, −1 for all; others need ``record=("weights",)``.

    Returns
    -------
    xarray.Dataset
        Over ``seed``, with meanings in attrs; diverged networks are judged by their last finite
        weights, and ``diverged`` says which they are.

    Raises
    ------
    ValueError
        As `weights_after`.
    """
    problem, field = problem_of(run), field_after(run, epoch)
    model, hyper, J = problem.model, problem.hyper, _jacobian_of(field)
    eigen, discs, D = spectrum(J), gershgorin(J), certificates(J)
    leak = certifying_leak(field.W, model.outflow, model.absolute_outflow)
    M = len(problem.X)
    start = probe_states(run["seed"].values, M, problem.layout)
    relax = get_engine("auto", J.shape[-1], "hard_sigmoid")
    free = relax(field, start, Phase(hyper.dt, hyper.T1))
    rest = np.sqrt(free.projected_residual * M) < REST_SPEED
    certified = np.isfinite(D).all(axis=-1)
    proved = eigen.hurwitz | discs.rows | discs.columns | certified
    columns: dict[str, tuple[np.ndarray, str, str]] = {
        "spectral_abscissa": (eigen.abscissa, "1/τ", "largest real part of an eigenvalue of J"),
        "hurwitz": (proved, "1", "whether it is negative, by the spectrum or a test below"),
        "negative_diagonal": (discs.negative_diagonal, "1", "whether all J_jj are negative"),
        "gershgorin_rows": (discs.rows, "1", "whether the row test passes"),
        "gershgorin_columns": (discs.columns, "1", "whether the column test passes"),
        "failing_rows": (discs.failing_rows, "1", "row discs that fail"),
        "failing_columns": (discs.failing_columns, "1", "column discs that fail"),
        "certified": (certified, "1", "whether the comparison matrix gives a diagonal certificate"),
        "contraction_rate": (
            contraction_rate(J, hyper.dt, D),
            "1",
            "contraction per Euler step in the certificate's norm; NaN without one",
        ),
        "max_stable_dt": (max_stable_dt(J), "τ", "largest stable Euler step, 0 for none"),
        "certifying_leak": (leak, "1/τ", "smallest leak λ at which W would be certified so"),
        "at_rest": (rest, "1", "whether a free phase of T1 steps with these weights ends at rest"),
        "diverged": (run["diverged"].values, "1", "whether the network diverged in training"),
    }
    modes = [
        ("eigenvalue_real", eigen.eigenvalues.real, "real"),
        ("eigenvalue_imag", eigen.eigenvalues.imag, "imaginary"),
    ]
    return xr.Dataset(
        {
            **{
                name: ("seed", values, {"units": units, "long_name": long_name})
                for name, (values, units, long_name) in columns.items()
            },
            **{
                name: (("seed", "mode"), values, {"units": "1/τ", "long_name": f"{part} part"})
                for name, values, part in modes
            },
        },
        coords={"seed": run["seed"].values},
        attrs={**run.attrs, "epochs_trained": epoch},
    )
