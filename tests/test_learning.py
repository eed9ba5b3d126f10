import numpy as np

from deep_nb.dynamics import Relaxation
from deep_nb.learning import contrastive, stdp, updated_weights
from deep_nb.models import DEEP, EP_asym


def relaxation(S, **more):
    none = np.zeros(len(S))
    return Relaxation(S, none, none, none, **more)


def test_stdp_is_its_sum_written_out(rng):
    M, N_X, n, T2 = 3, 2, 4, 7
    hyper = DEEP.hyper.replace(T2=T2, beta_0=0.4, beta_1=0.9)
    X, path = rng.uniform(size=(M, N_X)), rng.uniform(size=(T2 + 1, M, n))
    s = np.concatenate([np.broadcast_to(X, (T2 + 1, M, N_X)), path], axis=2)
    expected = np.zeros((N_X + n, N_X + n))
    for t in range(1, T2 + 1):
        for m in range(M):
            for i in range(N_X + n):
                for j in range(N_X, N_X + n):
                    change = s[t, m, j] - s[t - 1, m, j]
                    expected[i, j] += s[t, m, i] * (0.4 * s[t, m, j] + 0.9 * change)
    v = 0.4 * path[1:] + 0.9 * np.diff(path, axis=0)
    weak = relaxation(
        path[-1:],
        pairing=np.einsum("tmi,tmj->ij", path[1:], v)[None],
        change=v.sum(axis=0)[None],
    )
    dW, db = stdp(relaxation(path[:1]), weak, X, hyper)
    np.testing.assert_allclose(dW[0], expected / (M * T2), atol=1e-13)
    assert not db.any()


def test_contrastive_is_its_sum_written_out(rng):
    M, N_X, n = 3, 1, 4
    hyper = EP_asym.hyper.replace(beta=2.0)
    X, free, weak = (rng.uniform(size=(M, size)) for size in (N_X, n, n))
    s_free = np.hstack([X, free])
    dW, db = contrastive(relaxation(free[None]), relaxation(weak[None]), X, hyper)
    for i in range(N_X + n):
        for j in range(n):
            expected = sum(s_free[m, i] * (weak[m, j] - free[m, j]) for m in range(M)) / (2 * M)
            np.testing.assert_allclose(dW[0, i, N_X + j], expected, atol=1e-14)
    np.testing.assert_allclose(db[0, N_X:], (weak - free).sum(axis=0) / (2 * M), atol=1e-14)
    assert not dW[0, :, :N_X].any()
    assert not db[0, :N_X].any()


def test_l1_shrinks_weights_towards_zero():
    W = np.array([[[0.0, 0.5], [-0.5, 0.0]]])
    shrunk = updated_weights(W, np.zeros_like(W), dt_W=1.0, reg_W=0.1)
    assert shrunk.tolist() == [[[0.0, 0.4], [-0.4, 0.0]]]
