"""Matrix products whose terms are added one after the other, compiled."""

from deep_nb.kernels.cache import kernel


@kernel
def ordered_products(left, right, out):
    """Write left @ right of each pair of matrices: (K, M, p) and (K, p, n) to (K, M, n)."""
    K, M, p = left.shape
    n = right.shape[2]
    for k in range(K):
        for m in range(M):
            row = out[k, m]
            for j in range(n):
                row[j] = left[k, m, 0] * right[k, 0, j]
            i = 1
            while i + 3 < p:  # four terms for each time that a sum is read and written
                a, b, c, d = left[k, m, i], left[k, m, i + 1], left[k, m, i + 2], left[k, m, i + 3]
                for j in range(n):
                    total = row[j] + a * right[k, i, j]
                    total += b * right[k, i + 1, j]
                    total += c * right[k, i + 2, j]
                    row[j] = total + d * right[k, i + 3, j]
                i += 4
            while i < p:
                for j in range(n):
                    row[j] += left[k, m, i] * right[k, i, j]
                i += 1
