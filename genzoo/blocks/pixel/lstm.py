"""The base class of the two LSTM layers of a PixelRNN."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from genzoo.blocks.masked import sees
from genzoo.blocks.pixel.layer import PixelLayer
from genzoo.blocks.recurrent import Fronts, scan

__all__ = ["LSTMLayer"]


class LSTMLayer(PixelLayer):
    """An LSTM over fronts of pixels.

    A subclass sets the fronts, the inputs of a pixel, and how the states of all directions are
    combined.

    Arguments:
        hidden: h, the number of hidden features.
        colors: C, the number of groups of features.
        height: the height of the image.
        width: the width of the image.
        classes: the number of labels to condition on, or 0.
        fronts: the order of the pixels and the neighbors of each.
        directions: the number of LSTMs.
        input_groups: the color group of each input of a pixel.
    """

    mask: Tensor

    def __init__(
        self,
        *,
        hidden: int,
        colors: int,
        height: int,
        width: int,
        classes: int,
        fronts: Fronts,
        directions: int,
        input_groups: Tensor,
    ) -> None:
        super().__init__(
            hidden=hidden,
            colors=colors,
            height=height,
            width=width,
            classes=classes,
            gates=directions * 4 * hidden,
        )
        self.fronts = fronts
        self.directions = directions
        inputs, states = len(input_groups), len(fronts.before) * hidden
        self.weight = nn.Parameter(_uniform(inputs, directions, inputs, 4 * hidden))
        self.bias = nn.Parameter(_uniform(inputs, directions, 1, 4 * hidden))
        self.state_weight = nn.Parameter(_uniform(states, directions, states, 4 * hidden))
        # The pre-activations of the candidate cell are doubled; see genzoo.blocks.recurrent.
        with torch.no_grad():
            for parameter in (self.weight, self.bias, self.state_weight):
                parameter[..., 2 * hidden : 3 * hidden] *= 2
        self.h0 = nn.Parameter(torch.zeros(directions, hidden))
        self.c0 = nn.Parameter(torch.zeros(directions, hidden))
        # The groups are the same in each of the four gates.
        mask = sees(self.inner.repeat(4), input_groups).T
        self.register_buffer("mask", mask, persistent=False)

    def to_layout(self, f: Tensor) -> Tensor:
        return rearrange(f, "b k r c -> (r c) b k").index_select(0, self.fronts.order)

    def from_layout(self, f: Tensor) -> Tensor:
        in_raster_order = f.index_select(0, self.fronts.position[:-1])
        return rearrange(in_raster_order, "(r c) b k -> b r c k", c=self.width)

    def inputs(self, f: Tensor) -> Tensor:
        """Return the inputs of each direction: `(P, batch, 2h)` -> `(directions, P, batch, k)`."""
        raise NotImplementedError

    def join(self, states: Tensor) -> Tensor:
        """Combine the states of all directions.

        Arguments:
            states: `(directions, P + 1, batch, h)`; the last entry is the state outside the image.

        Returns:
            `(P, batch, h)`.
        """
        raise NotImplementedError

    def forward(self, f: Tensor, y: Tensor | None = None) -> Tensor:
        x, weight, bias = self.inputs(f), self.weights(), self.gate_bias(y)
        states = scan(x, weight, bias, h0=self.h0, c0=self.c0, fronts=self.fronts)
        return self.up(self.join(states))

    def weights(self) -> Tensor:
        """Return the weights of inputs and states together, `(directions, k + K * h, 4h)`."""
        return torch.cat([self.weight * self.mask, self.state_weight], 1)

    def gate_bias(self, y: Tensor | None) -> Tensor:
        """Return the bias of the gates, with the labels' part: `(directions, 1 or batch, 4h)`."""
        if y is None:
            return self.bias
        return self.bias + rearrange(self.label(y), "b (d k) -> d b k", d=self.directions)

    def outside_states(self, batch: int) -> tuple[Tensor, Tensor]:
        """Return the states and cells outside the image, both `(directions, batch, h)`."""
        return self.h0[:, None].repeat(1, batch, 1), self.c0[:, None].repeat(1, batch, 1)


def _uniform(inputs: int, *shape: int) -> Tensor:
    """Return weights with the initial distribution of torch's linear layers."""
    bound = 1 / math.sqrt(inputs)
    return torch.empty(shape).uniform_(-bound, bound)
