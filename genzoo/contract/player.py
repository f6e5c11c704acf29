"""A player: one participant in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Player:
    """One participant in training: the parameters it moves, and the loss it moves them for.

    Arguments:
        name: what recipes and logs call it (`"autoencoder"`, `"critic"`).
        owns: the modules whose parameters this player moves; no other player may move them in the same round.
        loss: batch -> `{"loss": scalar, ...}`; whatever stands beside `"loss"` is logged.
        steps_per_round: steps a round, or round, counted from 0, -> steps (which may then be 0).
        optimizer: a name in `torch.optim` and its settings; a recipe may override them.
        schedule: fraction of training in [0, 1] -> factor on the learning rate.
        after: an in-place constraint after each step, such as weight clipping; called without gradients.
    """

    name: str
    owns: tuple[nn.Module, ...]
    loss: Callable[[Any], Mapping[str, Tensor]]
    steps_per_round: int | Callable[[int], int] = 1
    optimizer: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({"name": "Adam", "lr": 1e-3})
    )
    schedule: Callable[[float], float] | None = None
    after: Callable[[], None] | None = None

    def parameters(self) -> list[nn.Parameter]:
        """The parameters it moves, each once; those that the author froze stay frozen."""
        found = {id(p): p for module in self.owns for p in module.parameters() if p.requires_grad}
        return list(found.values())
