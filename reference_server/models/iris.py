"""A softmax regression trained on Fisher's iris data (98 % of its 150 flowers), small enough to be written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_server.models import Card, Tensors, TensorSpec

# Rows: sepal length, sepal width, petal length, petal width, in cm. Columns: setosa, versicolor, virginica.
WEIGHTS = (
    (-1.868, 1.37, 0.498),
    (3.993, -0.783, -3.209),
    (-1.859, -0.707, 2.567),
    (-4.053, -1.743, 5.796),
)
BIAS = (10.587, 2.79, -13.376)


class Iris:
    """Flowers in, class numbers and probabilities out. Computed in the executor: it keeps a CPU busy."""

    card = Card(
        "iris",
        inputs=(TensorSpec("flowers", "FP64", (-1, 4)),),
        outputs=(TensorSpec("class", "INT64", (-1,)), TensorSpec("probabilities", "FP64", (-1, 3))),
        platform="numpy",
    )

    def load(self) -> None:
        self._weights: NDArray[np.float64] = np.array(WEIGHTS)
        self._bias: NDArray[np.float64] = np.array(BIAS)

    def predict(self, inputs: Tensors, parameters: Mapping[str, Any]) -> Tensors:
        scores = inputs["flowers"] @ self._weights + self._bias
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return {"class": probabilities.argmax(axis=1), "probabilities": probabilities}

    def unload(self) -> None:
        del self._weights, self._bias
