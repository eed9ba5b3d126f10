r"""The dynamical-systems view of a run: Jacobians, rest points, energies, a report of all verdicts.

Over the n free neurons the field is affine, with Jacobian :math:`J_{ji} = W_{ij}` for i ≠ j and
:math:`J_{jj} = -(\lambda + \gamma \sum_k W_{jk})`. `deep_nb.analysis.matrices` contains the
theorems about such matrices. They are about the hard sigmoid, which clips states to [0, 1].
"""

from dataclasses import replace

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from deep_nb._validation import integer, number, one_of
from deep_nb.analysis.certificates import certificate, certifying_leak
from deep_nb.analysis.contraction import contraction_rate_l1, contraction_rate_linf
from deep_nb.analysis.matrices import (
    contraction_rate,
    diagonal_certificate,
    gershgorin,
    max_stable_dt,
    spectrum,
)
from deep_nb.dynamics import Field, Phase, free_field, nudged_field
from deep_nb.engines import get_engine
from deep_nb.models import MAX_COUNT
from deep_nb.problem import Problem
from deep_nb.randomness import probe_states
from deep_nb.rest import RestPoint, settle
from deep_nb.rules import transposed_field
from deep_nb.run import problem_of

PHASES = ("free", "nudged")

#: A phase ended at rest if the projected speed ‖Δs‖ / dt of its last step was below this.
REST_SPEED = 1e-6

#: A mode grows if its multiplier is above 1 by more than this.
ROUNDING = 1e-12


def weights_after(
    run: xr.Dataset, epoch: int = -1
) -> tuple[Float[np.ndarray, "K N N"], Float[np.ndarray, "K N"]]:
    """Return W and b after `epoch` epochs of training, −1 for all; the run must have them."""
    epoch = integer(epoch, "epoch", -1, MAX_COUNT)
    if epoch == -1:
        return run["W"].values, run["b"].values
    if "W_epochs" not in run:
        raise ValueError(f"epoch {epoch} needs a run trained with record=('weights',)")
    if epoch not in range(run.sizes["snapshot"]):
        last = run.sizes["snapshot"] - 1
        raise ValueError(f"epoch must be -1 or an integer from 0 to {last}, got {epoch!r}")
    return run["W_epochs"].values[:, epoch], run["b_epochs"].values[:, epoch]


def clipped_problem_of(run: xr.Dataset) -> Problem:
    """Return the problem of a run whose model has the hard sigmoid; refuse any other."""
    problem = problem_of(run)
    if problem.model.activation != "hard_sigmoid":
        raise ValueError(
            "stability needs the activation 'hard_sigmoid', this model has "
            f"{problem.model.activation!r}"
        )
    return problem


def field_after(run: xr.Dataset, epoch: int = -1, phase: str = "free") -> Field:
    """Return the vector field of a phase after `epoch` epochs; the arguments are checked here."""
    problem = clipped_problem_of(run)
    nudged = one_of(phase, PHASES, "phase") == "nudged"
    return problem.fields(*weights_after(run, epoch))[nudged]


def jacobian(run: xr.Dataset, epoch: int = -1, phase: str = "free") -> Float[np.ndarray, "K n n"]:
    """Return the Jacobian of every network: ``J[k, j, i] = ∂(ds_j/dt)/∂s_i``, free neurons only.

    Nudging subtracts β from the diagonal entries of the outputs.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`, of a model with the hard sigmoid.
    epoch : int
        Number of epochs trained, −1 for all; others need ``record=("weights",)``.
    phase : str
        "free" or "nudged".

    Returns
    -------
    ndarray
        In 1/τ.

    Raises
    ------
    ValueError
        If `run` is not such a run, has no weights of that epoch, or `phase` is unknown.

    See Also
    --------
    spectrum, gershgorin, diagonal_certificate : Tests of Jacobians.
    stability_report : All tests at once.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("DEEP", "xor", seeds=range(2), hyper={"n_epochs": 5})
    >>> J = deep_nb.analysis.jacobian(run)
    >>> J.shape
    (2, 6, 6)
    >>> bool((abs(J.sum(axis=1)) < 1e-12).all())  # every column of DEEP's Jacobian sums to 0
    True
    """
    return linear_part(field_after(run, epoch, phase))


def linear_part(field: Field) -> Float[np.ndarray, "K n n"]:
    """Return the Jacobian of a field: its synapses, transposed, and its decay on the diagonal."""
    J = field.W.transpose(0, 2, 1).copy()
    diagonal = np.arange(J.shape[1])
    J[:, diagonal, diagonal] -= field.decay
    return J


def rule_fields(
    problem: Problem,
    W: Float[np.ndarray, "K N N"],
    b: Float[np.ndarray, "K N"],
    S: Float[np.ndarray, "K M n"],
) -> dict[str, Field]:
    r"""Return the field of every phase that the problem's rule learns from, by its name.

    "free"; "+β", except for ``adjoint``, whose nudged phase is only recorded; "-β" for ``centered``
    and ``asymep``. Nudging subtracts ±β from the outputs' diagonal entries of J; in the nudged
    phases of ``onesided`` and ``asymep``, of :math:`J^\top`. S holds the states at the end of the
    free phase, where these two reverse the antisymmetric part.
    """
    rule, beta, Y = problem.model.rule, problem.hyper.beta, problem.Y
    free = free_field(W, b, problem.X, problem.model)
    own = transposed_field(free, S) if rule in ("onesided", "asymep") else free
    fields = {"free": free}
    if rule != "adjoint":
        fields["+β"] = nudged_field(own, beta, Y)
    if rule in ("centered", "asymep"):
        fields["-β"] = nudged_field(own, -beta, Y)
    return fields


@np.errstate(over="ignore", invalid="ignore")  # overflow gives an infinite Jacobian
def rule_jacobians(
    problem: Problem, W: Float[np.ndarray, "K N N"], b: Float[np.ndarray, "K N"]
) -> dict[str, Float[np.ndarray, "K n n"]]:
    """Return the linear part of every phase that the problem's rule learns from, by its name.

    It is the same for every sample, and for all states.
    """
    one = replace(problem, X=problem.X[:1], Y=problem.Y[:1])
    S = np.zeros((len(W), 1, problem.layout.n_free))
    return {name: linear_part(field) for name, field in rule_fields(one, W, b, S).items()}


@np.errstate(over="ignore", invalid="ignore")  # overflow is beyond the range
def step_is_stable(run: xr.Dataset, epoch: int = -1) -> xr.DataArray:
    r"""Return whether each network's Euler step dt is inside its stable range, in every phase.

    Without the clip, a step multiplies each mode of J, with eigenvalue μ, by 1 + dt μ. The step is
    inside the range if each mode either does not grow, :math:`|1 + dt\, \mu| \le 1`, or is one that
    the step follows, :math:`dt\, |\mu| \le 1`. Growth alone is not a fault of the step: the flow of
    DEEP has growing modes of its own, which the clip stops. Beyond the range, the states follow the
    step size instead of the flow: such networks are numerical artefacts, whatever they answer.

    The phases are the free and the nudged one, and the one at −β of the rules ``centered`` and
    ``asymep``. A network inside the range need not contract: see `phase_report`.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`, of a model with the hard sigmoid.
    epoch : int
        Number of epochs trained, −1 for all; others need ``record=("weights",)``.

    Returns
    -------
    xarray.DataArray
        Over ``seed``. Diverged networks are judged by their last finite weights.

    Raises
    ------
    ValueError
        If `run` is not such a run or has no weights of that epoch.

    See Also
    --------
    max_stable_dt : The largest step at which no mode grows.
    stability_report : This and other results for the networks of a run.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("EP_asym", "or", seeds=[0, 1], hyper={"n_epochs": 5})
    >>> deep_nb.analysis.step_is_stable(run).values
    array([ True,  True])
    >>> coarse = deep_nb.train("EP_asym", "or", seeds=[0, 1], hyper={"n_epochs": 5, "dt": 2.5})
    >>> deep_nb.analysis.step_is_stable(coarse).values
    array([False, False])
    """
    problem = clipped_problem_of(run)
    stacks = rule_jacobians(problem, *weights_after(run, epoch))
    if "+β" not in stacks:  # adjoint records its nudged phase
        stacks["nudged"] = jacobian(run, epoch, "nudged")
    dt = problem.hyper.dt
    stable = np.all([_step_inside(J, dt) for J in stacks.values()], axis=0)
    text = _VERDICTS["step_is_stable"]
    return xr.DataArray(
        stable,
        dims=("seed",),
        coords={"seed": run["seed"].values},
        attrs={"units": "1", "long_name": text},
    )


def _step_inside(J: Float[np.ndarray, "K n n"], dt: float) -> Bool[np.ndarray, " K"]:
    """Return whether each mode does not grow, or is followed by the step."""
    inside = dt * np.abs(J).sum(axis=2).max(axis=1) <= 1  # a bound of |μ|, without eigenvalues
    unsure = ~inside & np.isfinite(J).all(axis=(1, 2))
    z = dt * np.linalg.eigvals(J[unsure]).astype(complex)
    followed, shrinks = np.abs(z) <= 1, np.abs(1 + z) <= 1 + ROUNDING
    inside[unsure] = (followed | shrinks).all(axis=1)
    return inside


def rest_point(
    run: xr.Dataset, epoch: int = -1, phase: str = "free", tolerance: float = 1e-9
) -> RestPoint:
    r"""Search for the rest point of every network by following its clipped Euler iteration.

    A network whose phase is certified by `phase_report` has exactly one rest point and reaches it
    from every start. Every other network has at least one, because a step maps the box continuously
    into itself (L. E. J. Brouwer, 1911), but may have several, and the iteration may miss them all.
    Where a contraction is slow, the rest point found is known to `tolerance` over its rate only.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`, of a model with the hard sigmoid.
    epoch : int
        Number of epochs trained, −1 for all; others need ``record=("weights",)``.
    phase : str
        "free", or "nudged" for the model's own nudged phase at +β, without the terms that a rule
        may add to it.
    tolerance : float
        Maximum speed :math:`\lVert \Delta s \rVert / dt` over all samples that counts as rest, in
        1/τ.

    Returns
    -------
    RestPoint
        After at most 200 000 steps from states of 0.5.

    Raises
    ------
    ValueError
        If `run` is not such a run, has no weights of that epoch, or another argument is out of
        range.

    See Also
    --------
    diagonal_certificate : Proves that there is exactly one rest point.
    energy : The distance to it along a trajectory.

    Examples
    --------
    >>> import deep_nb
    >>> run = deep_nb.train("EP_asym", "not", seeds=range(2), hyper={"n_epochs": 5})
    >>> deep_nb.analysis.rest_point(run).S.shape  # networks, samples, free neurons
    (2, 2, 6)
    """
    number(tolerance, "tolerance", low=0)
    field = field_after(run, epoch, phase)
    return settle(field, problem_of(run).hyper.dt, tolerance)


#: Meaning of each variable of a stability report.
_VERDICTS = {
    "spectral_abscissa": "largest real part of an eigenvalue of J, in 1/τ",
    "hurwitz": "whether J is Hurwitz, by its spectrum or a sufficient test",
    "negative_diagonal": "whether all J_jj are negative",
    "gershgorin_rows": "whether the row test passes",
    "gershgorin_columns": "whether the column test passes",
    "failing_rows": "number of row discs that fail",
    "failing_columns": "number of column discs that fail",
    "contraction_rate_l1": "matrix measure of J in ℓ1; negative means contraction, in 1/τ",
    "contraction_rate_linf": "matrix measure of J in ℓ∞; negative means contraction, in 1/τ",
    "certified": "whether the comparison matrix gives a diagonal certificate",
    "certified_identity": "whether D = I is a diagonal certificate",
    "contraction_rate": "contraction per Euler step in the certificate's norm; NaN without one",
    "max_stable_dt": "largest stable Euler step, in τ; 0 if every step is unstable",
    "certifying_leak": "smallest leak λ at which W would be certified, in 1/τ",
    "step_radius": "spectral radius of the free phase's step without the clip, 1 + dt J",
    "step_is_stable": "whether the Euler step is inside its stable range, in every phase",
    "at_rest": "whether a free phase of T1 steps with these weights ends at rest",
    "diverged": "whether the network diverged in training",
    "eigenvalue_real": "real part of each eigenvalue, in 1/τ",
    "eigenvalue_imag": "imaginary part of each eigenvalue, in 1/τ",
}


def stability_report(run: xr.Dataset, epoch: int = -1) -> xr.Dataset:
    """Apply every test of Jacobians to the free phase of every network of a run.

    Only ``step_is_stable`` is about all phases; for certificates of the others see `phase_report`.

    Parameters
    ----------
    run : xarray.Dataset
        As returned by `deep_nb.train`, of a model with the hard sigmoid.
    epoch : int
        Number of epochs trained, −1 for all; others need ``record=("weights",)``.

    Returns
    -------
    xarray.Dataset
        Over ``seed``, with meanings in attrs. Diverged networks are judged by their last
        finite weights and marked in ``diverged``.

    Raises
    ------
    ValueError
        If `run` is not such a run or has no weights of that epoch.

    See Also
    --------
    jacobian : The matrices that the tests are about.
    spectrum, gershgorin, diagonal_certificate, contraction_rate_l1 : The tests, with theorems.
    phase_report : A verdict for every phase of the rule.

    Examples
    --------
    >>> import deep_nb
    >>> leaky = deep_nb.DEEP.replace(name="leaky", leak=1.5)
    >>> run = deep_nb.train(leaky, "or", seeds=range(3), hyper={"n_epochs": 5})
    >>> report = deep_nb.analysis.stability_report(run)
    >>> report["certified"].values, report["at_rest"].values
    (array([ True,  True,  True]), array([ True,  True,  True]))
    """
    problem, field = problem_of(run), field_after(run, epoch)
    J = linear_part(field)
    eigen, discs, D = spectrum(J), gershgorin(J), diagonal_certificate(J)
    certified = np.isfinite(D).all(axis=-1)
    identity = certificate(J, "identity").method != ""
    values = {
        "spectral_abscissa": eigen.abscissa,
        "hurwitz": eigen.hurwitz | discs.rows | discs.columns | certified | identity,
        "negative_diagonal": discs.negative_diagonal,
        "gershgorin_rows": discs.rows,
        "gershgorin_columns": discs.columns,
        "failing_rows": discs.failing_rows,
        "failing_columns": discs.failing_columns,
        "contraction_rate_l1": contraction_rate_l1(J),
        "contraction_rate_linf": contraction_rate_linf(J),
        "certified": certified,
        "certified_identity": identity,
        "contraction_rate": contraction_rate(J, problem.hyper.dt, D),
        "max_stable_dt": max_stable_dt(J),
        "certifying_leak": certifying_leak(
            field.W, problem.model.outflow, problem.model.absolute_outflow
        ),
        "step_radius": np.abs(1 + problem.hyper.dt * eigen.eigenvalues).max(axis=-1),
        "step_is_stable": step_is_stable(run, epoch).values,
        "at_rest": _ends_at_rest(field, run["seed"].values, problem, problem.hyper.T1),
        "diverged": run["diverged"].values,
        "eigenvalue_real": eigen.eigenvalues.real,
        "eigenvalue_imag": eigen.eigenvalues.imag,
    }
    variables = {
        name: (
            ("seed", "mode")[: values[name].ndim],
            values[name],
            {"units": "1", "long_name": text},
        )
        for name, text in _VERDICTS.items()
    }
    attrs = {**run.attrs, "epochs_trained": epoch}
    return xr.Dataset(variables, coords={"seed": run["seed"].values}, attrs=attrs)


def rests_after(run: xr.Dataset, phases: int) -> Bool[np.ndarray, " K"]:
    """Return which networks are at rest after `phases` × T1 free steps with their final weights."""
    problem = problem_of(run)
    steps = phases * problem.hyper.T1
    return _ends_at_rest(field_after(run), run["seed"].values, problem, steps)


def _ends_at_rest(
    field: Field, seeds: np.ndarray, problem: Problem, steps: int
) -> Bool[np.ndarray, " K"]:
    """Return whether a free phase of some steps from each network's own start ends at rest."""
    M = len(problem.X)
    start = probe_states(seeds, M, problem.layout)
    relax = get_engine("auto", problem.layout.n_free, "hard_sigmoid")
    free = relax(field, start, Phase(problem.hyper.dt, steps))
    return np.sqrt(free.projected_residual * M) < REST_SPEED
