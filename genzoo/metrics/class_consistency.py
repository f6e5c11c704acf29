"""Samples of conditional models: their match with the label, and their distances within classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Part, Positive
from genzoo.errors import DataError
from genzoo.metrics.estimates import moments
from genzoo.metrics.feature_metric import FeatureMetric, evenly_spaced
from genzoo.metrics.frechet import frechet_distance

__all__ = ["ClassConsistency"]

_FEWEST = 4
"""The smallest number of rows of a class that has a Fréchet distance."""


class ClassConsistency(FeatureMetric):
    """The match of samples with the label that they were drawn for.

    A classifier is trained on the features of training rows: a logistic regression. Samples are
    drawn with the labels of held-out rows.

    Arguments:
        network: a feature network: a name, a table, or an instance. None selects the one for the
            model's shape.
        limit: the largest number of rows. More rows are thinned out evenly.

    Returns:
        `consistency`: the fraction of samples that the classifier assigns to their label. Its floor
            is the accuracy of the classifier on held-out rows. A model that repeats one example of
            each class scores 1, so read it together with the next value;
        `intra_frechet`: the Fréchet distance between samples and held-out rows of one class, as a
            mean over classes with at least 4 rows. For small classes it has a large bias. So has
            its floor, the value for training rows of the same class. All three sets of a class have
            the same number of rows, because the bias depends on it; `n` is the sum over classes.

    Raises:
        DataError: the condition is not a label, or there is only one class.

    References:
        How Good Is My GAN?, Konstantin Shmelkov, Cordelia Schmid and Karteek Alahari, 2018,
            https://arxiv.org/abs/1807.09499 (GAN-test)
        cGANs with Projection Discriminator, Takeru Miyato and Masanori Koyama, 2018,
            https://arxiv.org/abs/1802.05637 (intra FID)

    Example:
        >>> from genzoo import build, evaluate
        >>> model = build("nade", hidden=4, classes=10, shape=(1, 8, 8))
        >>> data = {"name": "digits", "binarize": "threshold"}
        >>> rows = evaluate(model, data, "class-consistency", n=100)
        >>> [row.quantity for row in rows]
        ['consistency', 'intra_frechet']
    """

    def __init__(self, network: Part | None = None, limit: Positive = 5000) -> None:
        super().__init__(network, limit)

    def lacking(self, model: Any) -> list[str]:
        """Return the missing requirements; the model is conditioned on labels."""
        lacking = super().lacking(model)
        if not getattr(model, "classes", 0) or len(model.given) != 1:
            lacking.append("labels as the condition, as with classes = 10")
        return lacking

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        (column,) = evidence.model.given
        samples, (real, y), (train, known) = (
            self._rows(evidence, "samples"),
            self._labeled(evidence, column, "test"),
            self._labeled(evidence, column, "train"),
        )
        right, right_real = _classified(train, known, samples, real, y)
        fields: dict[str, Any] = {
            "network": evidence.network(self.network).version,
            "higher_is_better": True,
        }
        row = Measurement.from_examples("consistency", right, **fields)
        yield replace(row, floor=right_real.double().mean().item())
        distances, floors, n = [], [], 0
        for label in y.unique():
            sets = (samples[y == label], real[y == label], train[known == label])
            size = min(map(len, sets))
            if size >= _FEWEST:
                one, other, more = (rows[evenly_spaced(len(rows), size)] for rows in sets)
                distances.append(_distance(other, one))
                floors.append(_distance(other, more))
                n += size
        if distances:
            yield Measurement(
                quantity="intra_frechet",
                value=sum(distances) / len(distances),
                floor=sum(floors) / len(floors),
                n=n,
                network=fields["network"],
                estimator="mean over classes",
                higher_is_better=False,
            )

    def _labeled(
        self, evidence: Evidence, column: str, split: Literal["test", "train"]
    ) -> tuple[Tensor, Tensor]:
        """Return the features and the labels of rows."""
        labels = evidence.labels(column, split)
        if labels is None:
            raise DataError(
                f"Class consistency needs integer labels, but the column {column!r} of the {split} "
                "split has none."
            )
        return self._rows(evidence, split), labels[evenly_spaced(len(labels), self.limit)]


def _classified(
    train: Tensor, known: Tensor, samples: Tensor, real: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Train a classifier; return True for each sample, and each real row, with the right class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(known.unique()) < 2:
        raise DataError("Class consistency needs training rows of at least two classes.")
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(train.numpy(), known.numpy())
    predicted = (torch.from_numpy(classifier.predict(x.numpy())) for x in (samples, real))
    right, right_real = (labels == y for labels in predicted)
    return right, right_real


def _distance(one: Tensor, other: Tensor) -> float:
    return frechet_distance(*moments(one.double()), *moments(other.double()))
