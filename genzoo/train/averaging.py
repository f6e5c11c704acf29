"""The exponential moving average (EMA) of a model's weights, and batch statistics that fit it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genzoo.contract import Batch, Model
from genzoo.errors import SettingError
from genzoo.train.frozen import train_mode

__all__ = ["BN_BATCHES", "Average", "replica", "update_batch_norm"]

BN_BATCHES = 20
"""The number of batches from which averaged weights get their batch-norm statistics."""


class Average:
    r"""The exponential moving average of a model's weights, with a warm-up.

    \[ \bar w_{n + 1} = d_n \bar w_n + (1 - d_n)\, w_{n + 1}, \qquad
       d_n = \min\Big(d, \frac{1 + n}{10 + n}\Big), \qquad \bar w_1 = w_1 \]

    With the decay \( d \) alone, the average of a short run would consist mostly of its first
    weights.

    Arguments:
        model: the model to average; its buffers are copied, not averaged.
        decay: \( d \), in (0, 1).

    Raises:
        SettingError: the model cannot be copied.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.module = replica(model, f"train.ema = {decay:g}", "train.ema")
        self.updates = 0
        """The number of updates; on the host, so that an update does not wait for the device."""
        self.batch_norm_round = 0
        """The round in which the batch-norm statistics were last computed."""

    def weight(self) -> float:
        """Return the factor on the average in the next update."""
        n = self.updates
        return min(self.decay, (1 + n) / (10 + n)) if n else 0.0

    @torch.no_grad()
    def update(self, model: Model) -> None:
        """Include the weights after a step in the average."""
        pairs = [*zip(self.module.parameters(), model.parameters(), strict=True)]
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        if floating:
            averages, weights = map(list, zip(*floating, strict=True))
            get_ema_multi_avg_fn(self.weight())(averages, weights, self.updates)
        integers = [pair for pair in pairs if not pair[0].is_floating_point()]
        buffers = [*zip(self.module.buffers(), model.buffers(), strict=True)]
        for average, value in (*integers, *buffers):
            average.copy_(value)
        self.updates += 1


def replica(model: Model, setting: str, name: str) -> Model:
    """Return a deep copy of a model.

    A module may keep a tensor as a plain attribute and compute it at each pass, such as the weight
    of `torch.nn.utils.weight_norm`. It is part of a graph, which torch does not copy, so copy its
    value.

    Arguments:
        model: the model.
        setting: the setting that needs the copy, with its value, for error messages.
        name: the name of this setting.

    Raises:
        SettingError: the model cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo |= {id(t): t.detach().clone() for t in _tensors(vars(module)) if not t.is_leaf}
    try:
        return copy.deepcopy(model, dict(memo))
    # an attribute may raise anything
    except Exception as error:
        culprit = _uncopied(model, memo) or f"a {type(model).__name__}"
        raise SettingError(
            f"{setting} needs a copy of the model, and {culprit} cannot be copied ({error}). Give "
            f"its class a __deepcopy__ method, or leave out {name}."
        ) from error


def _tensors(value: Any, depth: int = 4) -> Iterator[Tensor]:
    """Yield the tensors in a value: itself, or in nested mappings and sequences."""
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, Mapping | list | tuple | set):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item, depth - 1)


def _uncopied(model: nn.Module, memo: Mapping[int, Any]) -> str:
    """Name the first attribute that cannot be copied."""
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key == "_modules":
                continue
            try:
                copy.deepcopy(value, dict(memo))
            except Exception:
                return f"the attribute {f'{name}.{key}'.lstrip('.')!r} ({type(value).__name__})"
    return ""


def update_batch_norm(
    model: Model,
    batches: Iterable[Batch],
    context: Callable[[], AbstractContextManager[Any]],
    frozen: Sequence[str] = (),
    idle: Sequence[str] = (),
) -> None:
    """Recompute batch-norm statistics for averaged (EMA) weights, in place.

    The average copies the statistics of the last weights. They describe other activations, and
    samples of a GAN can be far worse with them. So compute the losses of all players on some
    batches, and take the means over all passes.

    Arguments:
        model: the averaged model. Everything but its batch norms is in eval mode and stays as it
            was.
        batches: batches of the training data.
        context: the context in which losses are computed.
        frozen: names of modules that keep their statistics.
        idle: names of players whose losses are not computed.

    References:
        Averaging Weights Leads to Wider Optima and Better Generalization, Izmailov et al., 2018,
            https://arxiv.org/abs/1803.05407 (section 3.2, of batch normalization)
    """
    # a model may keep a part in eval mode, so ask which norms are in train mode
    train_mode(model, frozen)
    norms = [module for module in model.modules() if _updates_statistics(module)]
    model.eval()
    if not norms:
        return
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None means the plain mean over all passes
        norm.momentum = None
        norm.train()
    players = [player for player in model.players() if player.name not in idle]
    for batch in batches:
        for player in players:
            with context():
                # with gradients, because a loss may itself take some
                player.loss(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    updated = [norm for norm in norms if norm.num_batches_tracked]
    updated_buffers = {id(buffer) for norm in updated for buffer in norm.buffers()}
    # undo other changes by the losses, and restore the norms that the losses do not use
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if id(buffer) not in updated_buffers:
                buffer.copy_(before[name])


def _updates_statistics(module: nn.Module) -> TypeGuard[_BatchNorm]:
    return isinstance(module, _BatchNorm) and module.track_running_stats and module.training
