from .alignment import angle_to_gradient, rule_change
from .certificates import certificate, certifying_leak
from .contraction import (
    contraction_rate_l1,
    contraction_rate_linf,
    euler_factor_l1,
    euler_factor_linf,
    max_contracting_dt_l1,
    max_contracting_dt_linf,
)
from .criterion import epochs_to_criterion, learned, network_table, turnover
from .energies import energy, phase_energy
from .matrices import (
    contraction_rate,
    diagonal_certificate,
    gershgorin,
    lyapunov_matrix,
    max_stable_dt,
    spectrum,
)
from .phases import certified_throughout, phase_report
from .stability import jacobian, rest_point, stability_report, step_is_stable
from .statistics import (
    difference_of_medians,
    difference_of_shares,
    holm,
    log_rank,
    mcnemar,
    median,
    paired_difference,
    share,
)

__all__ = [
    "angle_to_gradient",
    "certificate",
    "certified_throughout",
    "certifying_leak",
    "contraction_rate",
    "contraction_rate_l1",
    "contraction_rate_linf",
    "diagonal_certificate",
    "difference_of_medians",
    "difference_of_shares",
    "energy",
    "epochs_to_criterion",
    "euler_factor_l1",
    "euler_factor_linf",
    "gershgorin",
    "holm",
    "jacobian",
    "learned",
    "log_rank",
    "lyapunov_matrix",
    "max_contracting_dt_l1",
    "max_contracting_dt_linf",
    "max_stable_dt",
    "mcnemar",
    "median",
    "network_table",
    "paired_difference",
    "phase_energy",
    "phase_report",
    "rest_point",
    "rule_change",
    "share",
    "spectrum",
    "stability_report",
    "step_is_stable",
    "turnover",
]
