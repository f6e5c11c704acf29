"""The scores of outliers, each a formula of a few quantities that are measured once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Batch, Dataset, has_capability, is_image
from genzoo.contract.column import is_uint8
from genzoo.data.stream import iterate_split
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import SettingError, did_you_mean, show
from genzoo.metrics.evidence import Evidence
from genzoo.metrics.likelihood import Values, basis_of
from genzoo.metrics.outliers.background import Background, check_memory, png_bits
from genzoo.runs.modes import eval_mode

__all__ = ["Score", "Scorer"]

Quantities = Mapping[str, Tensor]

_BACKGROUNDS = ("independent", "markov")


@dataclass(frozen=True)
class Score:
    """A score of examples: the higher, the more unusual.

    Arguments:
        name: its name.
        unit: its unit.
        reads: the quantities that it is computed from.
        formula: the quantities of some examples -> their scores.
    """

    name: str
    unit: str
    reads: tuple[str, ...]
    formula: Callable[[Quantities], Tensor]


class Scorer:
    """The scores that a model supports, fitted to its training rows.

    Arguments:
        evidence: the model and its data.
        names: the names of the scores. None: all that the model supports.

    Raises:
        SettingError: the model has several inputs, it supports no score, or one of the names is
            unknown or not supported.
    """

    def __init__(self, evidence: Evidence, names: Sequence[str] | None = None) -> None:
        self.evidence, self.model = evidence, evidence.model
        if len(self.model.inputs) != 1:
            raise SettingError(
                f"{type(self.model).__name__} reads {', '.join(self.model.inputs)}; outlier scores "
                "need a model that reads a single column, because new rows have no labels. Train "
                "it without classes."
            )
        self.levels = _levels(evidence.dataset, self.model)
        self._backgrounds: dict[str, Background] = {}
        self.scores = self._chosen(names)
        reads = {name for score in self.scores for name in score.reads}
        self._fit_backgrounds([kind for kind in _BACKGROUNDS if kind in reads])
        self._mean = 0.0
        if any(score.name == "typicality" for score in self.scores):
            quantities = self._quantities(evidence.batches("train"), "train")
            self._mean = quantities["nats"].mean().item()

    def __call__(self, batches: Iterable[Batch], key: str) -> dict[str, Tensor]:
        """Return score -> values, float64 `(n,)`, on the CPU.

        Arguments:
            batches: examples, as the model reads them.
            key: the key of the seed, for bounds that are estimated with random draws.
        """
        quantities = self._quantities(batches, key)
        return {score.name: score.formula(quantities) for score in self.scores}

    def _chosen(self, names: Sequence[str] | None) -> list[Score]:
        """Return the scores of these names.

        Raises:
            SettingError: there are none, or the model does not support one of them.
        """
        supported = {score.name: score for score in self._supported()}
        model = type(self.model).__name__
        if not supported:
            raise SettingError(
                f"Outlier scores need log_prob, elbo, or reconstruct; {model} provides none."
            )
        for name in names or ():
            if name not in supported:
                raise SettingError(
                    f"{model} does not support an outlier score {show(name)}."
                    f"{did_you_mean(name, supported)}"
                )
        if names:
            return [supported[name] for name in dict.fromkeys(names)]
        return [score for score in supported.values() if self._has_memory(score)]

    def _has_memory(self, score: Score) -> bool:
        """Return whether the background model of a score fits into memory."""
        try:
            for kind in set(score.reads).intersection(_BACKGROUNDS):
                assert self.levels is not None
                check_memory(kind, self.levels, self.model.shape)
        except SettingError:
            return False
        return True

    def _reads_gray_values(self) -> bool:
        """Return whether a model of bits reads gray values, which have no likelihood."""
        values = Values()
        for x in self.evidence.batches():
            values.read(x)  # type: ignore[arg-type]
        _, ranks = basis_of(self.model, values)
        return not ranks

    def _supported(self) -> Iterable[Score]:
        """Yield the scores that the model supports."""
        model = self.model
        if has_capability(model, "log_prob") or has_capability(model, "elbo"):
            yield from self._of_likelihood()
        if has_capability(model, "reconstruct"):
            per = "pixel" if is_image(model.shape) else "coordinate"
            yield Score(
                "reconstruction_error", f"squared error per {per}", ("error",), lambda q: q["error"]
            )

    def _of_likelihood(self) -> Iterable[Score]:
        """Yield the scores that are computed from the likelihood."""
        exact, discrete = self.is_exact, getattr(self.model, "is_discrete", False)
        is_likelihood = not (discrete and self._reads_gray_values())
        unit = "nats, exact" if exact else "nats, an upper bound"
        yield Score(
            "negative_log_likelihood" if exact else "negative_elbo",
            unit if is_likelihood else "nats, a cross-entropy of gray values",
            ("nats",),
            lambda q: -q["nats"],
        )
        yield Score("typicality", "nats", ("nats",), lambda q: (q["nats"] - self._mean).abs())
        if self.levels is None or not is_likelihood:
            return
        # A density of dequantized data is converted to a probability of levels. Other densities
        # have no such conversion, but a constant does not change the order of examples.
        dequantized = self.evidence.dataset.dequantize
        shift = math.prod(self.model.shape) * math.log(self.levels) if dequantized else 0.0
        suffix = "" if discrete or dequantized else ", up to a constant"
        for kind in _BACKGROUNDS:
            yield Score(
                f"{kind}_ratio",
                f"nats{suffix}",
                ("nats", kind),
                lambda q, kind=kind: q[kind] - q["nats"] + shift,  # type: ignore[misc]
            )
        if is_image(self.model.shape):
            yield Score(
                "complexity_corrected",
                f"bits{suffix}",
                ("nats", "png"),
                lambda q: (shift - q["nats"]) / math.log(2) - q["png"],
            )

    @property
    def is_exact(self) -> bool:
        """True if the model has an exact likelihood, and False if it has a bound or none."""
        return has_capability(self.model, "log_prob")

    def _fit_backgrounds(self, kinds: Sequence[str]) -> None:
        """Count the levels of all training rows."""
        dataset, model, size = self.evidence.dataset, self.model, self.evidence.batch_size
        for kind in kinds:
            self._backgrounds[kind] = Background(kind, levels=self.levels, shape=model.shape).fit(  # type: ignore[arg-type]
                map(self._level_numbers, iterate_split(dataset, model.inputs, size, model, "train"))
            )

    def _level_numbers(self, x: Any) -> Tensor:
        """Return the levels of examples, int64, on the CPU."""
        assert self.levels is not None
        values = x.detach().cpu().double()
        if self.evidence.dataset.dequantize:
            return (values * self.levels).floor().clamp(0, self.levels - 1).long()
        return (values * (self.levels - 1)).round().clamp(0, self.levels - 1).long()

    def _quantities(self, batches: Iterable[Batch], key: str) -> Quantities:
        """Return what the scores read."""
        reads = {name for score in self.scores for name in score.reads}
        device = self.model.reference_tensor.device
        parts: dict[str, list[Tensor]] = {name: [] for name in reads}
        with eval_mode(self.model), exclusive(device), torch.no_grad():
            for number, x in enumerate(batches):
                for name, values in parts.items():
                    reseed(device, "outliers", self.evidence.seed, key, number, name)
                    values.append(self._measure(name, x).cpu().double())
        return {name: torch.cat(values) for name, values in parts.items()}

    def _measure(self, name: str, x: Any) -> Tensor:
        """Return one quantity of a batch."""
        model = self.model
        if name == "nats":
            return model.log_prob(x) if self.is_exact else model.elbo(x)
        if name == "error":
            return (x - model.reconstruct(x)).cpu().double().square().flatten(1).mean(1)
        numbers = self._level_numbers(x)
        if name == "png":
            assert self.levels is not None
            return png_bits((numbers * 255 / (self.levels - 1)).round().byte())
        return self._backgrounds[name].log_prob(numbers)


def _levels(dataset: Dataset, model: Any) -> int | None:
    """Return the number of levels of the values that a model reads, or None if there are none."""
    if dataset.binarize:
        return 2
    if is_uint8(dataset.train[model.inputs[0]]):
        return dataset.levels
    levels = getattr(model, "levels", None)
    if levels:
        return int(levels)
    return 256 if is_image(model.shape) else None
