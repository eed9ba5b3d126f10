"""Mini-batches of one network with the hard sigmoid: whole phases in one call, products by BLAS.

Numba takes its products from SciPy's BLAS. All arrays are contiguous and of one precision.
"""

import numpy as np

from deep_nb.kernels.cache import kernel

#: Samples that move together.
COLUMNS = 16

#: Maximum of multiply–adds in a product. Up to here OpenBLAS multiplies matrices as they are; it
#: copies larger ones first, which takes as long as multiplying them by so few columns.
SMALL = 1_000_000


@kernel
def relax_batch(V, drive, decay, states, dt, T):
    """Take T Euler steps in place: s becomes s + dt (V s + drive − decay s), clipped to [0, 1].

    V has the synapses onto each neuron in a row, states one sample in a row. The decay has one row
    for all samples, or several, each for the same number of samples.
    """
    M, n = states.shape
    parts = decay.shape[0]
    rows = max(1, SMALL // (n * COLUMNS))
    zero, one = dt - dt, dt / dt  # of the arrays' precision
    for part in range(parts):
        first, end = part * M // parts, (part + 1) * M // parts
        while first < end:
            last = min(first + COLUMNS, end)
            S, push = states[first:last].T.copy(), drive[first:last].T.copy()
            speed = np.empty_like(S)
            for _ in range(T):
                for j in range(0, n, rows):
                    np.dot(V[j : j + rows], S, speed[j : j + rows])
                for j in range(n):
                    k = decay[part, j]
                    for m in range(last - first):
                        s = S[j, m]
                        s += dt * (speed[j, m] + push[j, m] - k * s)
                        s = zero if s < zero else s
                        S[j, m] = one if s > one else s
            states[first:last] = S.T
            first = last


@kernel
def add_where(W, mask, dW):
    """Add dW to W where the mask is True."""
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            W[i, j] += dW[i, j] if mask[i, j] else 0
