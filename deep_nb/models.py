r"""The three published models, and two stable by construction, as instances of one class.

The state of neuron j follows

.. math:: \frac{ds_j}{dt} = \sum_i W_{ij} s_i + b_j - s_j \Big(\lambda + \gamma \sum_k W_{jk}\Big)
          \;[\, + \beta (y_j - s_j) \text{ on outputs, in the nudged phase} \,],
          \qquad s_j \leftarrow \rho\big(s_j + dt\, \dot s_j\big),

and the models differ in the leak λ, the outflow γ, the place of the bias, the encoding of targets
and the rule that changes the weights.

References
----------
.. [P] M. T. Farinha, S. Pequito, P. A. Santos, M. A. T. Figueiredo, "Equilibrium Propagation for
   Complete Directed Neural Networks", ESANN 2020, arXiv:2006.08798.
.. [S18] B. Scellier, A. Goyal, J. Binas, T. Mesnard, Y. Bengio, "Generalization of Equilibrium
   Propagation to Vector Field Dynamics", 2018, arXiv:1808.04873.
.. [C25] Costa and Santos, "Directed Equilibrium Propagation Revisited", Mathematics 13(11):1866,
   2025.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from deep_nb._validation import Frozen, instance, mapping, one_of, plain

#: Maximum of epochs, Euler steps and samples in a batch.
MAX_COUNT = 1_000_000
#: Maximum of neurons in a hidden layer.
MAX_SIZE = 10_000

Count = Annotated[int, BeforeValidator(plain), Field(ge=1, le=MAX_COUNT)]
Size = Annotated[int, BeforeValidator(plain), Field(ge=1, le=MAX_SIZE)]
Real = Annotated[float, BeforeValidator(plain)]
Flag = Annotated[bool, BeforeValidator(plain)]
Positive = Annotated[Real, Field(gt=0)]
NonNegative = Annotated[Real, Field(ge=0)]


#: Name of an engine; `deep_nb.engines.ENGINES` holds the functions.
EngineName = Literal["reference", "blas", "numba"]
#: What `train` records on request, and the variables this adds.
RECORDS = {"weights": ("W_epochs", "b_epochs"), "trajectories": ("S_epochs",)}


def _as_tuple(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class Hyperparameters(Frozen):
    """The published hyperparameters under their published names [P]_.

    Raises
    ------
    ValueError
        On an unknown name, or a value of the wrong type or out of range.

    See Also
    --------
    Model : Holds its published hyperparameters.
    deep_nb.train : Takes hyperparameters to replace some of the model's.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.Hyperparameters(N_H=5, beta=10.0, dt_W=100.0).T1
    1000
    """

    N_H: Annotated[tuple[Size, ...], BeforeValidator(_as_tuple)] = Field(
        description="neurons in each hidden layer"
    )
    n_epochs: Count = Field(200, description="training epochs")
    T1: Count = Field(1000, description="Euler steps of the free phase")
    T2: Count = Field(1000, description="Euler steps of the nudged phase")
    dt: Positive = Field(0.05, description="Euler step, in units of the time constant")
    stop: NonNegative = Field(1e-10, description="early stop: a phase ends at Σ ds² ≤ stop")
    beta: Real = Field(description="nudging strength β, not 0")
    dt_W: NonNegative = Field(description="learning rate of weights and biases")
    beta_0: Real = Field(0.0, description="STDP: weight of the product of states")
    beta_1: Real = Field(1.0, description="STDP: weight of the change of the postsynaptic state")
    reg_W: NonNegative = Field(0.00015, description="L1 decay of a weight per epoch")
    tol_W: NonNegative = Field(0.01, description="largest |W| of a synapse that may be pruned")
    temp: Positive = Field(5.0, description="temperature of the pruning probabilities")

    @field_validator("beta")
    @classmethod
    def _not_zero(cls, beta: float) -> float:
        if beta == 0:
            raise ValueError("it should be a finite number other than 0")
        return beta


class Flags(Frozen):
    """The published binary parameters, all off by default; see `deep_nb.train` for each.

    Raises
    ------
    ValueError
        On an unknown name, or a value other than True and False.

    See Also
    --------
    deep_nb.train : Takes the same flags as keyword arguments.

    Examples
    --------
    >>> import deep_nb
    >>> deep_nb.Flags(sparse=True)
    Flags(regularized=False, sparse=True, stop_criterion=False, layered=False, sign=False)
    """

    regularized: Flag = Field(False, description="L1: W loses reg_W sign(W) per epoch")
    sparse: Flag = Field(False, description="prune weak synapses at random")
    stop_criterion: Flag = Field(False, description="end a phase at Σ ds² ≤ stop")
    layered: Flag = Field(False, description="connect neighbouring layers only")
    sign: Flag = Field(False, description="replace ΔW and Δb by their signs")


#: Name of a learning rule; `deep_nb.rules.RULES` holds the functions.
RuleName = Literal["stdp", "contrastive", "centered", "onesided", "asymep", "adjoint"]


class Model(Frozen):
    """A model: dynamics, learning rule and hyperparameters.

    `replace` returns a variant.

    Raises
    ------
    ValueError
        On an unknown name, or a value of the wrong type or out of range.

    See Also
    --------
    Hyperparameters : The numbers of a model.
    deep_nb.MODELS : All models by name, `deep_nb.PUBLISHED` only the published ones.

    Examples
    --------
    >>> import deep_nb
    >>> leaky = deep_nb.DEEP.replace(name="leaky DEEP", leak=0.5, rule="asymep")
    >>> leaky.leak, leaky.hyper.beta
    (0.5, 10.0)
    """

    name: str = Field(max_length=1000)  # with a limit, pydantic refuses lone surrogates, too
    leak: NonNegative = Field(description="λ, decay of each state")
    outflow: NonNegative = Field(description="γ, weight of the outgoing synapses in the decay")
    absolute_outflow: Flag = Field(False, description="outflow Σ|W| instead of Σ W")
    bias_neuron: Flag = Field(description="whether a last input, always 1, carries the biases")
    learned_bias: Flag = Field(description="whether each neuron has a learned bias b")
    one_hot: Flag = Field(False, description="one output per class instead of one per label")
    rule: RuleName = Field(description="the learning rule, see `deep_nb.rules`")
    activation: Literal["hard_sigmoid", "sigmoid", "tanh"] = Field(
        "hard_sigmoid",
        description="ρ, applied to the state after each Euler step; the last bits of sigmoid and "
        "tanh depend on the machine",
    )
    hyper: Hyperparameters = Field(description="the model's own hyperparameters")

    @field_validator("hyper", mode="before")
    @classmethod
    def _from_mapping(cls, hyper: Any) -> Any:
        if isinstance(hyper, Hyperparameters):
            return hyper
        return Hyperparameters(**mapping(hyper, "hyper"))

    @model_validator(mode="after")
    def _gradients_need_the_clip(self) -> Self:
        if self.rule in ("onesided", "asymep", "adjoint") and self.activation != "hard_sigmoid":
            raise ValueError(f"the rule {self.rule!r} needs the activation 'hard_sigmoid'")
        return self


DEEP = Model(
    name="DEEP",
    leak=0.0,
    outflow=1.0,
    bias_neuron=True,
    learned_bias=False,
    rule="stdp",
    hyper=Hyperparameters(N_H=(5,), beta=10.0, dt_W=100.0),
)
DEEP_oh = DEEP.replace(
    name="DEEP_oh", one_hot=True, hyper=DEEP.hyper.replace(N_H=(2,), beta=1.0, dt_W=200.0)
)
EP_asym = Model(
    name="EP_asym",
    leak=1.0,
    outflow=0.0,
    bias_neuron=False,
    learned_bias=True,
    rule="contrastive",
    hyper=Hyperparameters(N_H=(5,), beta=10.0, dt_W=1.0),
)

# The published notebooks name the outflow Σ|W| as an alternative. With it and a leak λ > 0, the
# free phase contracts at rate λ in the ℓ1 norm, whatever the weights: see docs/stability.md.
contracting_DEEP = DEEP.replace(
    name="contracting DEEP",
    leak=0.25,
    absolute_outflow=True,
    rule="asymep",
    hyper=DEEP.hyper.replace(N_H=(14,), beta=0.225, dt_W=0.3, n_epochs=300),
)
fast_contracting_DEEP = contracting_DEEP.replace(
    name="fast contracting DEEP",
    leak=0.2,
    rule="onesided",
    hyper=DEEP.hyper.replace(N_H=(14,), beta=2.0, dt_W=1.5),
)

#: The published models [P]_, [S18]_ by name.
PUBLISHED = {model.name: model for model in (DEEP, DEEP_oh, EP_asym)}

#: All models by name: the published ones, and two whose phases all contract by construction. For
#: the phase at −β of `contracting_DEEP`, that needs β < λ; `fast_contracting_DEEP` has none.
MODELS = PUBLISHED | {model.name: model for model in (contracting_DEEP, fast_contracting_DEEP)}

#: What sets each of them apart.
MEANINGS = {
    "DEEP": "published: outflow instead of a leak, spike-timing-dependent plasticity",
    "DEEP_oh": "published: DEEP with one output per class",
    "EP_asym": "published: leak instead of an outflow, contrastive rule",
    "contracting DEEP": "each phase contracts for all weights if β < leak",
    "fast contracting DEEP": "each phase contracts for all weights and every β > 0",
}


def get_model(model: str | Model) -> Model:
    """Return the model of that name, or the model itself."""
    given = instance(model, "model", str, Model)
    if isinstance(given, Model):
        return given.replace()  # validated again: pydantic's `model_copy` does not
    return MODELS[one_of(given, MODELS, "model")]


def get_hyperparameters(
    hyper: Mapping[str, Any] | Hyperparameters | None, model: Model
) -> Hyperparameters:
    """Return the model's hyperparameters with those of `hyper` in their place."""
    if isinstance(hyper, Hyperparameters):
        return hyper.replace()
    return model.hyper.replace(**({} if hyper is None else mapping(hyper, "hyper")))
