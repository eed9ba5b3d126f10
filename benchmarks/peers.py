"""One training step of the classifier beside other code for equilibrium propagation.

    git clone https://github.com/Laborieux-Axel/Equilibrium-Propagation PEERS/laborieux
    git clone https://github.com/rain-neuromorphics/energy-based-learning PEERS/rain
    python benchmarks/peers.py PEERS

Needs PyTorch. Measures on one thread of the processor, and on a GPU where PyTorch finds one. Prints
a table for benchmarks/README.md.

A step is 25 steps of the free phase, 10 at +β, 10 at −β, and the change of weights and biases.
Their networks are layered and symmetric; ours is complete and directed, so that it has more
synapses: 500 hidden neurons read one another. Their input synapses are read at every step, ours
once.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is imported

import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

import deep_nb
from deep_nb.minibatch import Network
from deep_nb.problem import Problem

T1, T2, BETA, RATE = 25, 10, 0.5, 0.01

#: Inputs, hidden neurons, outputs, and samples of a batch.
SIZES = [(64, 100, 10, 16), (784, 500, 10, 64), (784, 500, 10, 1024)]


def batch(sizes, dtype, device):
    """Return drawn samples and labels."""
    rng = np.random.default_rng(0)
    X = torch.asarray(rng.uniform(size=(sizes[3], sizes[0])), dtype=dtype, device=device)
    return X, torch.asarray(rng.integers(0, sizes[2], sizes[3]), device=device)


def laborieux(sizes, device):
    """Return a step of `P_MLP` with a third phase, as in `train` of `model_utils.py`."""
    from model_utils import P_MLP, copy, hard_sigmoid

    X, y = batch(sizes, torch.float32, device)
    model = P_MLP(list(sizes[:3]), activation=hard_sigmoid).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    criterion = torch.nn.MSELoss(reduction="none").to(device)

    def step():
        neurons = model.init_neurons(len(X), device)
        rest = copy(model(X, y, neurons, T1, beta=0.0, criterion=criterion))
        above = copy(model(X, y, copy(rest), T2, beta=BETA, criterion=criterion))
        below = copy(model(X, y, copy(rest), T2, beta=-BETA, criterion=criterion))
        model.compute_syn_grads(X, y, above, below, (BETA, -BETA), criterion)
        optimizer.step()

    return step


def rain(sizes, device):
    """Return a step of `DeepHopfieldEnergy`, as in `Trainer` of `training/epoch.py`."""
    from model.function.cost import SquaredError
    from model.function.network import Network as Theirs
    from model.hopfield.minimizer import FixedPointMinimizer
    from model.hopfield.network import DeepHopfieldEnergy
    from training.monitor import Optimizer
    from training.sgd import AugmentedFunction, EquilibriumProp

    X, y = batch(sizes, torch.float32, device)
    energy = DeepHopfieldEnergy([(size,) for size in sizes[:3]], [0.7, 0.7])
    energy.set_device(device)
    cost = SquaredError(energy.layers()[-1])
    network = Theirs(energy)
    augmented = AugmentedFunction(energy, cost)
    layers = network.free_layers()
    free = FixedPointMinimizer(energy, layers, T1, "synchronous")
    nudged = FixedPointMinimizer(augmented, layers, T2, "synchronous")
    estimator = EquilibriumProp(energy.params(), energy.layers(), augmented, cost, nudged,
                                "centered", BETA)  # fmt: skip
    optimizer = Optimizer(energy, cost, [RATE] * len(energy.params()))

    def step():
        network.set_input(X, reset=True)
        cost.set_target(y)
        free.compute_equilibrium()
        gradients = estimator.compute_gradient()
        for param, gradient in zip(energy.params() + cost.params(), gradients, strict=True):
            param.state.grad = gradient
        optimizer.step()

    return step


def ours(sizes, device, rule, dtype, xp):
    """Return a step of `DEEPClassifier`'s engine."""
    N_X, N_H, N_Y, _ = sizes
    X, y = batch(sizes, getattr(torch, dtype), device)
    Y = torch.nn.functional.one_hot(y, N_Y).to(X.dtype)
    model = deep_nb.EP_asym.replace(rule=rule, one_hot=True)
    task = deep_nb.Task("drawn", X.cpu().numpy().astype(float), Y.cpu().numpy().astype(float))
    problem = Problem.of(model, task, {**dict(model.hyper), "N_H": [N_H], "beta": BETA,
                                       "T1": T1, "T2": T2, "dt": 0.5})  # fmt: skip
    N = N_X + N_H + N_Y
    W = np.where(problem.mask, np.random.default_rng(0).normal(0, 0.05, (N, N)), 0)
    parts = [X, Y] + [torch.asarray(a, dtype=X.dtype, device=device) for a in (W, np.zeros(N))]
    mask = torch.asarray(problem.mask, device=device)
    if xp is np:
        parts, mask = [part.numpy() for part in parts], mask.numpy()
    X, Y, W, b = parts
    network = Network.of(W, b, mask, N_X, model, problem.hyper)
    weights = X[:, 0] * 0 + 1
    return lambda: network.learn(X, Y, RATE, weights)


def milliseconds(step, device):
    """Return the least time of a step, of five rounds of at least a fifth of a second."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    step(), step(), wait()
    started, count = time.perf_counter(), 0
    while time.perf_counter() < started + 0.2:
        step(), wait()
        count += 1
    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        best = min(best, (time.perf_counter() - started) / count)
    return 1000 * best


def main(peers):
    """Print the table."""
    sys.path[:0] = [f"{peers}/laborieux", f"{peers}/rain"]
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    sides = {
        "Laborieux et al., float32": laborieux,
        "rain, float32": rain,
    }
    for rule in ("centered", "asymep"):
        for dtype in ("float64", "float32"):
            for xp, name in ((np, "NumPy"), (torch, "PyTorch")):
                sides[f"ours, `{rule}`, {dtype}, {name}"] = (
                    lambda sizes, device, given=(rule, dtype, xp): ours(sizes, device, *given)
                )
    processor = next(line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines()
                     if line.startswith("model name"))  # fmt: skip
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    names = {"cpu": f"{processor}, one thread"}
    if len(devices) == 2:
        names["cuda"] = torch.cuda.get_device_name()
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}"
          "; milliseconds of a training step:\n")  # fmt: skip
    columns = [(device, sizes) for device in devices for sizes in SIZES]
    heads = [f"{names[d]}: {s[0]}–{s[1]}–{s[2]}, {s[3]} samples" for d, s in columns]
    print("| | " + " | ".join(heads) + " |\n|" + "---|" * (len(columns) + 1))
    for name, make in sides.items():
        cells = [
            "—" if device == "cuda" and "NumPy" in name
            else f"{milliseconds(make(sizes, device), device):.2f}"
            for device, sizes in columns
        ]  # fmt: skip
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
