from .alignment import angle_to_gradient, rule_change
from .criterion import epochs_to_criterion, learned, network_table, turnover
from .matrices import (
    certifying_leak,
    contraction_rate,
    diagonal_certificate,
    gershgorin,
    lyapunov_matrix,
    max_stable_dt,
    spectrum,
)
from .stability import energy, jacobian, rest_point, stability_report, step_is_stable
from .statistics import (
    difference_of_medians,
    difference_of_shares,
    log_rank,
    median,
    share,
)

__all__ = [
    "angle_to_gradient",
    "certifying_leak",
    "contraction_rate",
    "diagonal_certificate",
    "difference_of_medians",
    "difference_of_shares",
    "energy",
    "epochs_to_criterion",
    "gershgorin",
    "jacobian",
    "learned",
    "log_rank",
    "lyapunov_matrix",
    "max_stable_dt",
    "median",
    "network_table",
    "rest_point",
    "rule_change",
    "share",
    "spectrum",
    "stability_report",
    "step_is_stable",
    "turnover",
]
