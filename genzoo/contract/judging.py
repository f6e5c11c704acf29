"""A metric: a measurement of a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from genzoo.contract.capabilities import has_capability
from genzoo.contract.model import Model
from genzoo.contract.parts import _Recorded


class Metric(_Recorded):
    """A measurement of a trained model: built by name with its settings, then called with the model and data.

    `needs` names the capabilities without which it cannot be taken (`("encode", "decode")`; `"log_prob|elbo"` is either); who
    calls it says what is `lacking`.
    """

    kind_of_part: ClassVar[str] = "metrics"
    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    """Held-out columns that it reads beside the model's inputs; its batches are then mappings."""

    def lacking(self, model: Any) -> list[str]:
        """The needs that a model does not meet."""
        return [
            need
            for need in self.needs
            if not any(has_capability(model, name) for name in need.split("|"))
        ]

    def __call__(self, model: Model, batches: Iterable[Any]) -> Mapping[str, float]:
        """Name -> value, over batches as `loss` would get them, without gradients."""
        raise NotImplementedError
