"""Mini-batches of one network with the hard sigmoid: whole phases in one call, products by BLAS.

Numba takes its products from SciPy's BLAS. All arrays are contiguous and of one precision.
"""

import numpy as np

from deep_nb.kernels.cache import kernel


@kernel
def relax_batch(W, drive, decay, states, dt, T):
    """Take T Euler steps in place: s becomes s + dt (s W + drive − decay s), clipped to [0, 1].

    The decay has one row for all samples, or two, each for half of them.
    """
    M, n = states.shape
    parts = decay.shape[0]
    product = np.empty_like(states)
    zero, one = dt - dt, dt / dt  # of the arrays' precision
    for _ in range(T):
        np.dot(states, W, product)
        for m in range(M):
            part = m * parts // M
            for j in range(n):
                s = states[m, j]
                s += dt * (product[m, j] + drive[m, j] - decay[part, j] * s)
                s = zero if s < zero else s
                states[m, j] = one if s > one else s


@kernel
def add_where(W, mask, dW):
    """Add dW to W where the mask is True."""
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[i, j] += dW[i, j] if mask[i, j] else 0
