"""The base class of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from genzoo.contract.capabilities import has_capability
from genzoo.contract.model import Model
from genzoo.registry.records import Recorded

__all__ = ["Metric"]


class Metric(Recorded):
    """A measurement of a trained model.

    A metric is built by name with its settings, then called with a model and batches of data.
    """

    kind_of_part: ClassVar[str] = "metrics"
    needs: ClassVar[tuple[str, ...]] = ()
    """The required capabilities, such as `("encode", "log_prob|elbo")`; `|` means either one."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Held-out columns to read in addition to the model's inputs. Batches are then mappings."""

    def lacking(self, model: Any) -> list[str]:
        """Return the requirements that a model does not meet."""
        return [
            need
            for need in self.needs
            if not any(has_capability(model, name) for name in need.split("|"))
        ]

    def __call__(self, model: Model, batches: Iterable[Any]) -> Mapping[str, float]:
        """Measure a model, without gradients.

        Arguments:
            model: the model.
            batches: batches as `loss` receives them.

        Returns:
            Name -> value.
        """
        raise NotImplementedError
