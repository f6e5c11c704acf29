"""The classifier two-sample test (C2ST) between features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Part, Positive
from genzoo.metrics.estimates import as_features, shuffled
from genzoo.metrics.feature_metric import FeatureMetric

__all__ = ["ClassifierTest", "TwoSample", "classifier_two_sample_test", "wilson_interval"]

_HIDDEN = 64
_BATCH = 256
_STEPS = 4000
_SOLVED = 0.05
"""The validation loss below which training stops."""
_CHECK_EVERY = 25
"""The training steps between two computations of the validation loss."""
_PATIENCE = 16
"""The number of computations without an improvement after which training stops."""


class ClassifierTest(NamedTuple):
    """The result of a classifier two-sample test."""

    accuracy: float
    """The fraction of held-out rows that the classifier assigns to the right sample."""
    standard_error: float
    """The standard error of the accuracy, from the binomial distribution."""
    low: float
    """The lower end of the 95 % Wilson interval of the accuracy."""
    high: float
    """The upper end of the interval."""
    p_value: float
    """The one-sided p-value of an accuracy of 1/2."""
    n: int
    """The number of held-out rows, of both samples together."""


def classifier_two_sample_test(x: Tensor, y: Tensor, *, seed: int = 0) -> ClassifierTest:
    r"""Test whether a neural network can tell two samples apart.

    Half of the rows of each sample train a multilayer perceptron; the other half measures its
    accuracy. Features are standardized with the training rows. If the distributions are equal, the
    accuracy is distributed as \( N(1/2, 1 / 4n) \) for n held-out rows, however the classifier was
    trained. An accuracy of 1 means that every sample gives itself away.

    The classifier has two hidden layers of 64 units. A fifth of its training rows selects the step
    with the highest accuracy.

    Arguments:
        x: features, `(n, dim)`.
        y: features, `(n, dim)`.
        seed: the seed of the split and of the classifier.

    Returns:
        The accuracy with its standard error, interval, and p-value.

    Raises:
        DataError: the samples differ in their numbers of rows or features, have fewer than 20 rows,
            or have a value that is not finite.

    References:
        Revisiting Classifier Two-Sample Tests, David Lopez-Paz and Maxime Oquab, 2017,
            https://arxiv.org/abs/1610.06545

    Example:
        >>> classifier_two_sample_test(torch.randn(200, 2), torch.randn(200, 2) + 9).accuracy
        1.0
    """
    x, y = as_features(x, y, least=20, equal=True)
    order = shuffled(len(x), seed)
    half = len(x) // 2
    training, held_out = order[:half], order[half : 2 * half]
    seen, unseen = (torch.cat([x[rows], y[rows]]) for rows in (training, held_out))
    mean, scale = seen.mean(dim=0), seen.std(dim=0)
    scale[scale == 0] = 1
    labels = torch.arange(2).repeat_interleave(half).float()
    network = _train(((seen - mean) / scale).float(), labels, seed)
    predicted = _logits(network, ((unseen - mean) / scale).float()) > 0
    right = int((predicted == labels.bool()).sum())
    n = 2 * half
    accuracy = right / n
    low, high = wilson_interval(right, n)
    return ClassifierTest(
        accuracy=accuracy,
        standard_error=math.sqrt(accuracy * (1 - accuracy) / n),
        low=low,
        high=high,
        p_value=math.erfc((2 * accuracy - 1) * math.sqrt(n / 2)) / 2,
        n=n,
    )


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    r"""Compute the 95 % Wilson interval of a probability.

    \[ \frac{\hat p + z^2 / 2n \pm z \sqrt{\hat p (1 - \hat p) / n + z^2 / 4 n^2}}{1 + z^2 / n},
       \quad z = 1.96 \]

    Arguments:
        successes: the number of successes.
        n: the number of trials.

    Example:
        >>> low, high = wilson_interval(5, 10)
        >>> round(low, 4), round(high, 4)
        (0.2366, 0.7634)
    """
    z = 1.959963984540054
    share = successes / n
    center = share + z**2 / (2 * n)
    margin = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return max(0.0, (center - margin) / scale), min(1.0, (center + margin) / scale)


@torch.inference_mode(mode=False)
@torch.enable_grad()
def _train(x: Tensor, labels: Tensor, seed: int) -> list[Tensor]:
    """Train the classifier and return its weights and biases."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    # Indexing copies tensors that were created in inference mode.
    x, labels = x[order], labels[order]
    validation = len(x) // 5
    sizes = (x.shape[1], _HIDDEN, _HIDDEN, 1)
    network: list[Tensor] = []
    for before, after in pairwise(sizes):
        gain = 2 if after > 1 else 0.02
        weight = torch.randn(before, after, generator=generator) * math.sqrt(gain / before)
        network += [weight.requires_grad_(), torch.zeros(after, requires_grad=True)]
    optimizer = torch.optim.AdamW(network, lr=3e-3, weight_decay=0.3)
    best, best_score, waited = network, (math.inf, math.inf), 0
    for step in range(_STEPS):
        if step % _CHECK_EVERY == 0:
            with torch.no_grad():
                logits = _logits(network, x[:validation])
            loss = F.binary_cross_entropy_with_logits(logits, labels[:validation]).item()
            # The accuracy may still rise when the loss rises: overfitting makes logits large.
            score = ((logits > 0) != labels[:validation].bool()).sum().item(), loss
            waited += 1
            if score < best_score:
                best, best_score, waited = [w.detach().clone() for w in network], score, 0
            if waited == _PATIENCE or loss < _SOLVED:
                break
        rows = torch.randint(validation, len(x), (_BATCH,), generator=generator)
        optimizer.zero_grad()
        loss_of_batch = F.binary_cross_entropy_with_logits(_logits(network, x[rows]), labels[rows])
        loss_of_batch.backward()
        optimizer.step()
    return best


def _logits(network: list[Tensor], x: Tensor) -> Tensor:
    """Return the log-odds of the second sample, `(n,)`."""
    *hidden, weight, bias = network
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        x = (x @ w + b).relu()
    return (x @ weight + bias)[:, 0]


class TwoSample(FeatureMetric):
    """The accuracy of a classifier that tells samples from held-out examples.

    See `classifier_two_sample_test`. An accuracy of 1/2 means that the classifier finds no
    difference; 1 means that every sample gives itself away. The floor is 1/2, the exact value for
    equal distributions.

    Arguments:
        network: a feature network: a name, a table, or an instance. None selects the one for the
            model's shape.
        limit: the largest number of rows. More rows are thinned out evenly.

    Returns:
        `accuracy`, its 95 % interval `accuracy_low` to `accuracy_high`, and `p_value`.

    Raises:
        DataError: there are fewer than 20 held-out examples, or a feature is not finite.

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> evaluate(vae, "digits", "two-sample", n=100)["two-sample", "accuracy"].value > 0.9
        True
    """

    least: ClassVar[int] = 20
    passes: ClassVar[Mapping[str, tuple[str, ...]] | None] = {
        "accuracy": (
            "identical", "mean shift", "mode drop", "mode invention", "repeated samples",
            "outlier in data", "outlier in samples",
        )
    }  # fmt: skip

    def __init__(self, network: Part | None = None, limit: Positive = 5000) -> None:
        super().__init__(network, limit)

    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        real, samples = (self._rows(evidence, source) for source in ("test", "samples"))
        test = classifier_two_sample_test(real, samples, seed=evidence.seed)
        fields: dict[str, Any] = {
            "n": test.n,
            "network": evidence.network(self.network).version,
        }
        yield Measurement(
            quantity="accuracy",
            value=test.accuracy,
            standard_error=test.standard_error,
            floor=0.5,
            estimator="held-out rows",
            higher_is_better=False,
            **fields,
        )
        yield Measurement(
            quantity="accuracy_low", value=test.low, estimator="Wilson 95 %", **fields
        )
        yield Measurement(
            quantity="accuracy_high", value=test.high, estimator="Wilson 95 %", **fields
        )
        yield Measurement(
            quantity="p_value", value=test.p_value, estimator="normal approximation", **fields
        )
