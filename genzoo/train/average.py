"""What averaged weights need beside an average: batch statistics that fit them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from genzoo.contract import Batch, Model


def settle(model: Model, batches: Iterable[Batch], context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Estimate the running statistics of every batch norm anew, in place, from the passes that the players' losses make.

    Those that an average of weights took over from the last weights are statistics of other activations; with them samples of a
    GAN can be far worse than with these.

    Arguments:
        model: whose batch norms; everything else is in eval mode, and stays as it was.
        batches: what the losses get.
        context: in which losses are computed.

    References:
        Averaging Weights Leads to Wider Optima and Better Generalization, Izmailov et al., 2018,
            https://arxiv.org/abs/1803.05407 (section 3.2, of batch normalization)
    """
    model.train()  # a model may keep a part in eval mode, whose statistics are not this run's
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats and m.training]
    model.eval()
    if not norms:
        return
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all passes
        norm.train()
    players = model.players()
    for batch in batches:
        for player in players:
            with context():
                player.loss(batch)  # with gradients, which a loss may itself take
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    settled = {id(buffer) for norm in norms if norm.num_batches_tracked for buffer in norm.buffers()}
    with torch.no_grad():
        for name, buffer in model.named_buffers():  # what else losses wrote, and norms that they do not pass
            if id(buffer) not in settled:
                buffer.copy_(kept[name])
