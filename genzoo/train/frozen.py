"""Frozen parameters, and the modules that stay in eval mode because of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import nn

from genzoo.errors import SettingError
from genzoo.train.optimizers import near_patterns

__all__ = ["freezing", "frozen_modules", "frozen_patterns", "matching", "train_mode"]


def matching(model: nn.Module, pattern: str, label: str) -> set[nn.Parameter]:
    """Return the parameters whose names match a pattern.

    Arguments:
        model: the module that names the parameters.
        pattern: as in `fnmatch`, on names as in `named_parameters()`: `"encoder.*"`, `"*.bias"`.
        label: the setting that holds the pattern, for error messages.

    Raises:
        SettingError: no name matches.
    """
    named = [*model.named_parameters(remove_duplicate=False)]
    parameters = {parameter for name, parameter in named if fnmatchcase(name, pattern)}
    if not parameters:
        near = near_patterns(pattern, [name for name, _ in named])
        raise SettingError(
            f"{label}: no parameter of {type(model).__name__} matches {pattern!r}.{near}"
        )
    return parameters


@contextmanager
def freezing(model: nn.Module, patterns: Iterable[str]) -> Iterator[Callable[[nn.Module], None]]:
    """Freeze the parameters that match within the block, and unfreeze them after it.

    Parameters that were frozen before stay frozen.

    Yields:
        A function that unfreezes the same parameters in a copy of the model.

    Raises:
        SettingError: a pattern matches no parameter.
    """
    chosen = {p for pattern in patterns for p in matching(model, pattern, "train.freeze")}
    names = [name for name, p in model.named_parameters() if p in chosen and p.requires_grad]

    def set_frozen(module: nn.Module, *, frozen: bool) -> None:
        parameters = dict(module.named_parameters())
        for name in names:
            parameters[name].requires_grad = not frozen

    set_frozen(model, frozen=True)
    try:
        yield lambda module: set_frozen(module, frozen=False)
    finally:
        set_frozen(model, frozen=False)


def frozen_patterns(model: nn.Module, patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns, and the names of frozen parameters that match none of them."""
    patterns = tuple(patterns)
    by_hand = (
        name
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad and not any(fnmatchcase(name, p) for p in patterns)
    )
    return (*patterns, *by_hand)


def frozen_modules(model: nn.Module) -> list[str]:
    """Return the names of the largest modules whose parameters are all frozen.

    A module without parameters follows the module that holds it.
    """
    names: list[str] = []
    for name, module in model.named_modules():
        if any(outer == "" or name.startswith(f"{outer}.") for outer in names):
            continue
        parameters = [*module.parameters()]
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            names.append(name)
    return names


def train_mode(model: nn.Module, frozen: Sequence[str]) -> None:
    """Put a model in train mode, except its frozen modules.

    These keep their batch-norm statistics and apply no dropout.
    """
    model.train()
    for name in frozen:
        model.get_submodule(name).eval()
