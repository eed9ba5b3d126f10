"""What single precision costs the classifier: accuracy on Digits, over ten splits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deep_nb


def test_single_precision(benchmark, row):
    benchmark.pedantic(lambda: None, rounds=1)
    X, y = load_digits(return_X_y=True)
    accuracy, same = {"float64": [], "float32": []}, []
    for seed in range(10):
        split = train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=seed)
        answers = {}
        for dtype, scores in accuracy.items():
            model = deep_nb.DEEPClassifier(N_H=100, dtype=dtype, random_state=seed)
            answers[dtype] = model.fit(split[0], split[2]).predict(split[1])
            scores.append((answers[dtype] == split[3]).mean())
        same.append((answers["float64"] == answers["float32"]).mean())
    # Half a point is four times the standard error of the difference: 38 answers in 4500 differ.
    double, single = (100 * np.mean(scores) for scores in accuracy.values())
    row("`DEEPClassifier`, Digits, 64–100–10, 50 passes, ten splits: accuracy in float32, against "
        "float64", "within 0.5 points",
        f"{single:.2f} % and {double:.2f} %; {100 * np.mean(same):.2f} % of the answers are the "
        "same", abs(single - double) <= 0.5, single=single, double=double,
        **accuracy)  # fmt: skip
