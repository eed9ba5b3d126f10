r"""One network that learns in mini-batches, on any array library: the classifier's engine.

It computes what the rules of `deep_nb.rules` define, for one network and without records. Both
nudged phases of a symmetric rule run as one phase of twice the samples, and each sample's change
has a weight.

Arrays are of NumPy or of any other library with the array API standard, such as PyTorch; ``xp`` is
the library's namespace. With NumPy and the hard sigmoid, phases run compiled.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_cupy_array,
    is_numpy_array,
    is_numpy_namespace,
    is_torch_array,
    to_device,
)
from jaxtyping import Bool, Float

from deep_nb.dynamics import Array, Field
from deep_nb.models import Hyperparameters, Model, RuleName
from deep_nb.rules import adjoint_states

#: Start of every free neuron: the mean of the published U(0, 0.1).
START = 0.05

#: The activations ρ by name, as functions of a namespace and states.
ACTIVATIONS: dict[str, Callable[[Any, Array], Array]] = {
    "hard_sigmoid": lambda xp, x: xp.clip(x, 0.0, 1.0),
    "sigmoid": lambda xp, x: 0.5 * (xp.tanh(0.5 * x) + 1.0),
    "tanh": lambda xp, x: xp.tanh(x),
}


def namespace(array: Array) -> Any:
    """Return the namespace of an array, NumPy's own for NumPy."""
    xp = array_namespace(array)
    return np if is_numpy_namespace(xp) else xp


def to_numpy(array: Any) -> Any:
    """Return an array of any library as one of NumPy; what is no such array stays as it is."""
    if is_numpy_array(array) or not is_array_api_obj(array):
        return array
    if is_torch_array(array):
        return array.detach().cpu().numpy()
    if is_cupy_array(array):
        return array.get()
    default = array_namespace(array).__array_namespace_info__().default_device()
    return np.asarray(to_device(array, default))


@dataclass(eq=False)
class Network:
    """A network, and how it learns.

    Attributes
    ----------
    xp
        The namespace of its arrays.
    W_in, W
        Synapses from clamped neurons, and among free ones, from the first axis to the second.
    b
        Biases of the free neurons.
    mask_in, mask
        Which of these synapses exist.
    """

    xp: Any
    model: Model
    hyper: Hyperparameters
    W_in: Float[Array, "N_X n"]
    W: Float[Array, "n n"]
    b: Float[Array, " n"]
    mask_in: Bool[Array, "N_X n"]
    mask: Bool[Array, "n n"]

    @classmethod
    def of(
        cls,
        W: Float[Array, "N N"],
        b: Float[Array, " N"],
        mask: Bool[Array, "N N"],
        N_X: int,
        model: Model,
        hyper: Hyperparameters,
    ) -> "Network":
        """Return a network that changes copies of these weights and biases."""
        xp = namespace(W)
        parts = [W[:N_X, N_X:], W[N_X:, N_X:], b[N_X:], mask[:N_X, N_X:], mask[N_X:, N_X:]]
        return cls(xp, model, hyper, *(xp.asarray(part, copy=True) for part in parts))

    def weights(self) -> tuple[Float[Array, "N N"], Float[Array, " N"]]:
        """Return the weights and biases of all neurons, 0 onto clamped ones."""
        xp = self.xp
        W = xp.concat([self.W_in, self.W], axis=0)
        clamped = xp.zeros((W.shape[0], self.W_in.shape[0]), dtype=W.dtype, device=device(W))
        return xp.concat([clamped, W], axis=1), xp.concat([clamped[0, :], self.b])

    @np.errstate(over="ignore", invalid="ignore")  # a factor beyond the range proves nothing
    def contraction(self, N_Y: int) -> dict[str, float]:
        """Return a factor per Euler step for each phase, see `DEEPClassifier.contraction`."""
        W, hyper = to_numpy(self.W).astype(float), self.hyper
        sums = np.abs(W).sum(axis=1), np.abs(W).sum(axis=0)
        outgoing = sums[0] if self.model.absolute_outflow else W.sum(axis=1)
        outputs = np.arange(len(W)) >= len(W) - N_Y
        phases = {"free": 0.0}
        if self.model.rule != "adjoint":
            phases["+β"] = hyper.beta
        if self.model.rule in ("centered", "asymep"):
            phases["-β"] = -hyper.beta
        factors = {}
        for phase, beta in phases.items():
            decay = self.model.leak + self.model.outflow * outgoing + beta * outputs
            kept = np.abs(1 - hyper.dt * decay)
            factors[phase] = float(min((kept + hyper.dt * of).max() for of in sums))
        return factors

    def free(self, X: Float[Array, "M N_X"]) -> tuple[Array, Array, Array]:
        """Return drive, decay and last states of the free phase of clamped states X."""
        xp, model = self.xp, self.model
        drive = X @ self.W_in + self.b
        outgoing = xp.sum(xp.abs(self.W) if model.absolute_outflow else self.W, axis=1)
        decay = (model.leak + model.outflow * outgoing)[None, :]
        start = xp.full_like(drive, START)
        return drive, decay, self.relax(self.W, drive, decay, start, self.hyper.T1)

    def relax(
        self,
        W: Float[Array, "n n"],
        drive: Float[Array, "M n"],
        decay: Float[Array, "parts n"],
        S: Float[Array, "M n"],
        T: int,
    ) -> Float[Array, "M n"]:
        """Return the states after T Euler steps; each part of the samples has its decay."""
        xp, dt = self.xp, self.hyper.dt
        if xp is np and self.model.activation == "hard_sigmoid":
            from deep_nb.kernels.batches import relax_batch

            S = S.copy()
            relax_batch(np.ascontiguousarray(W.T), drive, decay, S, S.dtype.type(dt), T)
            return S
        rho = ACTIVATIONS[self.model.activation]
        decay = xp.repeat(decay, S.shape[0] // decay.shape[0], axis=0)
        for _ in range(T):
            S = rho(xp, S + dt * (S @ W + drive - decay * S))
        return S

    def learn(
        self,
        X: Float[Array, "M N_X"],
        Y: Float[Array, "M N_Y"],
        rate: float,
        weights: Float[Array, " M"],
    ) -> Any:
        """Change weights and biases by a batch; return the loss, a weighted sum over its samples.

        Each sample counts by its weight over M.
        """
        xp, M = self.xp, X.shape[0]
        batch = Batch(xp, *self.free(X), Y)
        loss = xp.sum(weights[:, None] * (batch.S[:, -Y.shape[1] :] - Y) ** 2) / 2
        dW, delta = RULES[self.model.rule](self, batch, (rate / M * weights)[:, None])
        self.W_in = _added(xp, self.W_in, self.mask_in, X.T @ delta)
        self.W = _added(xp, self.W, self.mask, dW)
        if self.model.learned_bias:
            self.b = self.b + xp.sum(delta, axis=0)
        return loss


@dataclass(frozen=True, eq=False)
class Batch:
    """The field of a batch and its states after the free phase, and its targets."""

    xp: Any
    drive: Float[Array, "M n"]
    decay: Float[Array, "1 n"]
    S: Float[Array, "M n"]
    Y: Float[Array, "M N_Y"]

    def nudged(self, *betas: float) -> tuple[Array, Array, Array]:
        """Return drive, decay and first states of phases with each β on the outputs, in a row."""
        xp, hidden = self.xp, self.xp.zeros_like(self.S[:, : -self.Y.shape[1]])
        targets = xp.concat([hidden, self.Y], axis=1)
        outputs = xp.concat([hidden[:1, :], xp.ones_like(self.Y[:1, :])], axis=1)
        drives = [self.drive + beta * targets for beta in betas]
        decays = [self.decay + beta * outputs for beta in betas]
        return xp.concat(drives), xp.concat(decays), xp.concat([self.S for _ in betas])


def _added(
    xp: Any,
    W: Float[Array, "pre post"],
    mask: Bool[Array, "pre post"],
    dW: Float[Array, "pre post"],
) -> Float[Array, "pre post"]:
    """Return W + dW where synapses exist, in W itself if it is NumPy's."""
    if xp is np:
        from deep_nb.kernels.batches import add_where

        add_where(W, mask, dW)
        return W
    return W + xp.where(mask, dW, xp.zeros_like(dW))


#: What a rule changes: ΔW among free neurons, and δ with ΔW = Xᵀ δ from clamped ones and Δb = Σ δ.
Change = tuple[Float[Array, "n n"], Float[Array, "M n"]]


def stdp(network: Network, batch: Batch, share: Float[Array, "M 1"]) -> Change:
    """See `deep_nb.rules.stdp`."""
    xp, hyper = network.xp, network.hyper
    drive, decay, S = batch.nudged(hyper.beta)
    dW, delta = xp.zeros_like(network.W), xp.zeros_like(drive)
    for _ in range(hyper.T2):
        before, S = S, network.relax(network.W, drive, decay, S, 1)
        v = share / hyper.T2 * (hyper.beta_0 * S + hyper.beta_1 * (S - before))
        dW, delta = dW + S.T @ v, delta + v
    return dW, delta


def contrastive(network: Network, batch: Batch, share: Float[Array, "M 1"]) -> Change:
    """See `deep_nb.rules.contrastive`."""
    beta = network.hyper.beta
    S = network.relax(network.W, *batch.nudged(beta), network.hyper.T2)
    delta = share / beta * (S - batch.S)
    return batch.S.T @ delta, delta


def centered(network: Network, batch: Batch, share: Float[Array, "M 1"]) -> Change:
    """See `deep_nb.rules.centered`."""
    return _descent(network, batch, share * _symmetric(network, batch, network.W))


def onesided(network: Network, batch: Batch, share: Float[Array, "M 1"]) -> Change:
    """See `deep_nb.rules.onesided`."""
    beta = network.hyper.beta
    nudged = _transposed(network, batch).nudged(beta)
    S = network.relax(network.W.T, *nudged, network.hyper.T2)
    return _descent(network, batch, share / beta * (S - batch.S))


def asymep(network: Network, batch: Batch, share: Float[Array, "M 1"]) -> Change:
    """See `deep_nb.rules.asymep`."""
    transposed = _transposed(network, batch)
    return _descent(network, batch, share * _symmetric(network, transposed, network.W.T))


def adjoint(network: Network, batch: Batch, share: Float[Array, "M 1"]) -> Change:
    """See `deep_nb.rules.adjoint`."""
    field = Field(network.W[None, ...], batch.drive[None, ...], batch.decay)
    delta = adjoint_states(field, batch.S[None, ...], batch.Y)[0, ...]
    return _descent(network, batch, share * delta)


#: The rules by name: functions of the network, the batch, and the factor of each sample's change.
RULES: dict[RuleName, Callable[[Network, Batch, Array], Change]] = {
    "stdp": stdp,
    "contrastive": contrastive,
    "centered": centered,
    "onesided": onesided,
    "asymep": asymep,
    "adjoint": adjoint,
}


def _transposed(network: Network, batch: Batch) -> Batch:
    """Return the batch with the drive of the transposed field."""
    W = network.W
    return replace(batch, drive=batch.drive + batch.S @ W - batch.S @ W.T)


def _symmetric(network: Network, batch: Batch, W: Float[Array, "n n"]) -> Float[Array, "M n"]:
    """Return (s at +β − s at −β) / 2β, from one phase of twice the samples."""
    beta, M = network.hyper.beta, batch.S.shape[0]
    both = network.relax(W, *batch.nudged(beta, -beta), network.hyper.T2)
    return (both[:M, :] - both[M:, :]) / (2 * beta)


def _descent(network: Network, batch: Batch, delta: Float[Array, "M n"]) -> Change:
    """See `deep_nb.rules.descent`."""
    xp, model, S = network.xp, network.model, batch.S
    dW = S.T @ delta
    if model.outflow:
        own = model.outflow * xp.sum(S * delta, axis=0)[:, None]
        dW = dW - own * (xp.sign(network.W) if model.absolute_outflow else 1.0)
    return dW, delta
