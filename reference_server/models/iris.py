"""A softmax regression trained on Fisher's iris data (98 % of its 150 flowers), small enough to be written down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reference_server.models import Card, Parameters, Tensors, TensorSpec

# Rows: sepal length, sepal width, petal length, petal width, in cm. Columns: setosa, versicolor, virginica.
WEIGHTS = (
    (-1.868, 1.37, 0.498),
    (3.993, -0.783, -3.209),
    (-1.859, -0.707, 2.567),
    (-4.053, -1.743, 5.796),
)
BIAS = (10.587, 2.79, -13.376)
MEAN_FLOWER = (5.843, 3.057, 3.758, 1.199)


class Iris:
    """Flowers in, class numbers and probabilities out. Computed in the executor: it keeps a CPU busy."""

    card = Card(
        inputs=(TensorSpec("flowers", "FP64", (-1, 4)),),
        outputs=(TensorSpec("class", "INT64", (-1,)), TensorSpec("probabilities", "FP64", (-1, 3))),
        platform="numpy",
    )

    def load(self) -> None:
        self._weights: NDArray[np.float64] = np.array(WEIGHTS)
        self._bias: NDArray[np.float64] = np.array(BIAS)
        self._mean: NDArray[np.float64] = np.array(MEAN_FLOWER)

    def predict(self, inputs: Tensors, parameters: Parameters) -> Tensors:
        scores = self._scores(inputs["flowers"])
        with np.errstate(invalid="ignore"):
            exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return {"class": probabilities.argmax(axis=1), "probabilities": probabilities}

    def explain(self, inputs: Tensors, parameters: Parameters) -> Tensors:
        """How much each of the four measures adds to the score of the class chosen, compared with the mean flower.

        The model is linear up to the score, so this is exact: the four contributions and the mean flower's score sum
        up to the score.
        """
        flowers = inputs["flowers"]
        scores = self._scores(flowers)
        chosen = scores.argmax(axis=1)
        return {
            "predictions": chosen,
            "score": np.take_along_axis(scores, chosen[:, None], axis=1)[:, 0],
            "mean_score": self._scores(self._mean)[chosen],
            "contributions": (flowers - self._mean) * self._weights[:, chosen].T,
        }

    def _scores(self, flowers: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):
            scores: NDArray[np.float64] = flowers @ self._weights + self._bias
        return scores

    def unload(self) -> None:
        del self._weights, self._bias, self._mean
