"""The players of a training game."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

__all__ = ["Player"]


@dataclass(frozen=True, kw_only=True)
class Player:
    """One participant in training: the parameters that it updates, and its loss.

    Arguments:
        name: the name in recipes and logs (`"autoencoder"`, `"critic"`).
        owns: the modules whose parameters this player updates. No other player may update them in
            the same round.
        loss: batch -> `{"loss": scalar, ...}`. All values are logged.
        steps_per_round: the number of training steps per round, or a function from the round,
            counted from 0, to the number of steps, which may be 0.
        optimizer: a name in `torch.optim` and its settings. A recipe may override them.
        schedule: fraction of training in [0, 1] -> factor of the learning rate.
        before: a function that is called before each step, with the number of steps that this
            player has made. It decides, for example, whether the loss of this step has a penalty.
        after: a function that is called after each step, without gradients. It applies a constraint
            in place, such as weight clipping.

    Example:
        >>> from torch import nn
        >>> line = nn.Linear(1, 1)
        >>> player = Player(
        ...     name="line",
        ...     owns=(line,),
        ...     loss=lambda x: {"loss": (line(x) - x).square().mean()},
        ...     optimizer={"name": "SGD", "lr": 0.1},
        ... )
        >>> [parameter.numel() for parameter in player.parameters()]
        [1, 1]
    """

    name: str
    owns: tuple[nn.Module, ...]
    loss: Callable[[Any], Mapping[str, Tensor]]
    steps_per_round: int | Callable[[int], int] = 1
    optimizer: Mapping[str, Any] = field(
        default_factory=lambda: MappingProxyType({"name": "Adam", "lr": 1e-3})
    )
    schedule: Callable[[float], float] | None = None
    before: Callable[[int], None] | None = None
    after: Callable[[], None] | None = None

    def parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters of its modules, each one once."""
        unique = {id(p): p for module in self.owns for p in module.parameters()}
        return [p for p in unique.values() if p.requires_grad]
