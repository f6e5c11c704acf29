"""Benchmark autoregressive models: likelihoods, gradients, and samples, compared with plain torch.

The other implementations in this file follow the equations: NADE's recursion as a loop under
autograd and as one cumulative sum; the Diagonal BiLSTM as a loop over diagonals under autograd; and
sampling with one forward pass per dimension. The NADE and the PixelCNN of pytorch-generative could
not be installed from the package index. They are reimplemented here from the papers and from its
source at d1f0a5c.

For implementations of the same distribution, the values, gradients, and samples are first compared
with ours in double precision, and the page reports the differences. The peer's PixelCNN is another
network of similar size.

Run `python benchmarks/autoregressive.py`. It takes some minutes on one thread.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine, machine, write
from mmd import peak
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, conv2d, pad
from train_overhead import race, ratio

import genzoo
from genzoo.blocks.pixel import DiagonalBiLSTM
from genzoo.models.autoregressive import Autoregressive
from genzoo.models.nade import NADE
from genzoo.models.pixel_rnn import PixelRNN

LAYERS = ("diagonal-bilstm", "row-lstm", "conv")
Work = Callable[[], object]
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """The sizes of all measurements. The first round warms up and is not counted."""

    shape: tuple[int, int, int] = (1, 28, 28)
    hidden: int = 500
    batch: int = 128
    draws: int = 64
    features: int = 16
    depth: int = 7
    images: int = 16
    rounds: int = 9
    forwards: int = 3
    """The number of passes from which a naive sampler's time is extrapolated."""
    steps: int = 600
    units: int = 64
    """Hidden units of the NADEs that are scored."""
    processes: int = 3
    """In which memory is measured, each on its own."""

    @property
    def dims(self) -> int:
        return math.prod(self.shape)


FULL = Size()
QUICK = Size(
    (1, 6, 6),
    hidden=8,
    batch=4,
    draws=3,
    features=4,
    depth=2,
    images=2,
    rounds=1,
    forwards=1,
    steps=3,
    units=4,
    processes=1,
)


# NADE in plain torch: from examples (batch, D) to logits (batch, D), with the parameters of a
# genzoo model, in raster order.


def by_indexed_loop(model: NADE, x: Tensor) -> Tensor:
    """Compute the recursion in the straightforward way.

    Each index into a matrix has a gradient of the size of the matrix.
    """
    a, logits = model.bias.expand(len(x), -1), []
    for d in range(x.shape[1]):
        logits.append(torch.sigmoid(a) @ model.out_weight[d, 0] + model.out_bias[d, 0])
        a = a + x[:, d, None] * model.weight[d]
    return torch.stack(logits, 1)


def by_loop(model: NADE, x: Tensor) -> Tensor:
    """Compute the recursion as fast as possible in plain torch.

    Matrices are split once, and sums are part of products.
    """
    a, logits = model.bias.expand(len(x), -1), []
    parts = (
        x.split(1, 1),
        model.weight.split(1),
        model.out_weight.unbind(),
        model.out_bias.unbind(),
    )
    for x_d, weight_d, out_weight_d, out_bias_d in zip(*parts, strict=True):
        logits.append(torch.addmm(out_bias_d, torch.sigmoid(a), out_weight_d.T))
        a = torch.addmm(a, x_d, weight_d)
    return torch.cat(logits, 1)


def by_cumsum(model: NADE, x: Tensor) -> Tensor:
    """Compute all activations at once, `(batch, D, H)`.

    The bias is the weight of a one that precedes the first dimension.
    """
    before = torch.cat([torch.ones_like(x[:, :1]), x[:, :-1]], 1)
    weight = torch.cat([model.bias[None], model.weight[:-1]])
    h = (before[:, :, None] * weight).cumsum(1).sigmoid()
    return torch.einsum("bdh,dh->bd", h, model.out_weight[:, 0]) + model.out_bias[:, 0]


def nats(logits: Tensor, x: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of examples, `(batch, D)`."""
    return binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1).mean()


NADES: Mapping[str, Callable[[NADE, Tensor], Tensor]] = {
    "genzoo": lambda model, x: model.loss(x.unflatten(1, model.shape))["loss"],
    "indexed loop": lambda model, x: nats(by_indexed_loop(model, x), x),
    "loop": lambda model, x: nats(by_loop(model, x), x),
    "cumsum": lambda model, x: nats(by_cumsum(model, x), x),
}


@torch.no_grad()
def recomputed(model: NADE, u: Tensor) -> Tensor:
    """Draw samples, and compute the activations of each dimension from all earlier values.

    This takes O(D^2 H).
    """
    samples = u.new_empty(u.shape[1], len(u))
    for d in range(len(samples)):
        h = torch.addmm(model.bias, samples[:d].T, model.weight[:d]).sigmoid_()
        samples[d] = u[:, d] < torch.addmv(model.out_bias[d], h, model.out_weight[d, 0]).sigmoid_()
    return samples.T


@torch.no_grad()
def naive(model: Autoregressive, u: Tensor, first: int | None = None) -> Tensor:
    """Draw samples of zeros and ones with one forward pass per dimension, in raster order.

    With `first`, draw only the first dimensions.
    """
    x = torch.zeros_like(u)
    for d in range(x[0].numel() if first is None else first):
        probabilities = model.distribution(x).probs.flatten(1)[:, d]
        x.flatten(1)[:, d] = u.flatten(1)[:, d] < probabilities
    return x


# PixelRNN in plain torch.


def plain_weights(layer: DiagonalBiLSTM) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of inputs and states, and the bias, with gates in the order i, f, o, g.

    In genzoo, g is the third gate, and its weights are doubled.
    """
    i, f, g, o = torch.arange(4 * layer.hidden).chunk(4)
    order = torch.cat([i, f, o, g])
    halved = torch.ones(4 * layer.hidden, dtype=layer.bias.dtype).index_fill_(0, g, 0.5)
    tensors = (layer.weight * layer.mask, layer.state_weight, layer.bias)
    weight, state_weight, bias = ((tensor * halved).index_select(-1, order) for tensor in tensors)
    return weight, state_weight, bias


def lstm(gates: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """Return states and cells from pre-activations in the order i, f, o, g."""
    gated, candidate = gates.tensor_split([3 * carried.shape[-1]], -1)
    i, forget, o = gated.sigmoid().chunk(3, -1)
    c = torch.addcmul(forget * carried, i, candidate.tanh())
    return o * c.tanh(), c


def moved(layer: DiagonalBiLSTM, left: Tensor, right: Tensor) -> Tensor:
    """Return the sum of both directions' states, `(H, W, batch, h)`, as the layer adds them.

    The direction from the right is computed in the mirrored image.
    """
    above = torch.cat([layer.h0[1].expand(1, *right.shape[1:]), right.flip(1)[:-1]])
    return layer.up(left + above)


def by_diagonals(layer: DiagonalBiLSTM, f: Tensor) -> Tensor:
    """Compute a Diagonal BiLSTM with ordinary operations, as fast as possible.

    It maps `(H, W, batch, 2h)` to the same shape. On each diagonal, one product covers both
    directions and only the pixels inside the image. The states of the previous diagonal, with the
    learned state at both ends, are the states above and, shifted by one, the states to the left.
    """
    height, width = f.shape[:2]
    number = (torch.arange(height)[:, None] + torch.arange(width)).flatten()
    order = number.argsort(stable=True)
    weight, state_weight, bias = plain_weights(layer)
    both = torch.stack([f, f.flip(1)]).flatten(1, 2)
    z = torch.baddbmm(bias, both.flatten(1, 2), weight).unflatten(1, both.shape[1:3])
    h0, c0 = (start[:, None, None].expand(-1, 1, f.shape[2], -1) for start in (layer.h0, layer.c0))
    states, h, c = [], h0[:, :0], c0[:, :0]
    for t, front in enumerate(z.index_select(1, order).split(torch.bincount(number).tolist(), 1)):
        # from front number `width` on, the first row has no pixel in the front
        first, size = (
            int(t >= width),
            front.shape[1],
        )
        around = torch.cat([h0, h, h0], 1)
        neighbors = torch.cat(
            [around.narrow(1, first, size), around.narrow(1, first + 1, size)], -1
        )
        carried = torch.cat([c0, c, c0], 1).narrow(1, first + 1, size)
        gates = torch.baddbmm(front.flatten(1, 2), neighbors.flatten(1, 2), state_weight).unflatten(
            1, front.shape[1:3]
        )
        h, c = lstm(gates, carried)
        states.append(h)
    return moved(
        layer, *torch.cat(states, 1).index_select(1, order.argsort()).unflatten(1, (height, width))
    )


def by_skewing(layer: DiagonalBiLSTM, f: Tensor) -> Tensor:
    """Compute a Diagonal BiLSTM as the paper describes it.

    Each direction skews its map, row r by r columns, and scans complete columns.
    """
    (height, width), span = f.shape[:2], sum(f.shape[:2]) - 1
    directions = []
    # (columns, rows): the column of the image
    inside = (torch.arange(span) - torch.arange(height)[:, None]).mT
    inside = ((inside >= 0) & (inside < width))[..., None, None]
    for d, (image, weight, state_weight, bias) in enumerate(
        zip((f, f.flip(1)), *plain_weights(layer), strict=True)
    ):
        z = (image @ weight + bias).transpose(0, 1)  # (W, H, batch, 4h)
        wide = pad(z.transpose(0, 1), (0, 0, 0, 0, 0, height)).flatten(0, 1)[: height * span]
        columns = wide.unflatten(0, (height, span)).unbind(1)
        h0, c0 = (start[d].expand(height, f.shape[2], -1) for start in (layer.h0, layer.c0))
        h, c, states = h0, c0, []
        for column, is_inside in zip(columns, inside, strict=True):
            above = torch.cat([h0[:1], h[:-1]])
            new_h, new_c = lstm(column + torch.cat([above, h], -1) @ state_weight, c)
            h, c = torch.where(is_inside, new_h, h0), torch.where(is_inside, new_c, c0)
            states.append(h)
        skewed = pad(torch.stack(states, 1).flatten(0, 1), (0, 0, 0, 0, 0, height))
        directions.append(skewed.unflatten(0, (height, span + 1))[:, :width])
    return moved(layer, *directions)


def pixel_rnn_by(
    layer_by: Callable[[DiagonalBiLSTM, Tensor], Tensor], model: PixelRNN, x: Tensor
) -> Tensor:
    """Return the loss of our model with its layers in plain torch."""
    f = model.first(2 * x - 1).permute(2, 3, 0, 1)
    for layer in model.layers:
        f = f + layer_by(layer, f)
    logits = model.head(f).squeeze(-1).permute(2, 0, 1)
    return nats(logits.flatten(1), x.flatten(1))


DIAGONALS: Mapping[str, Callable[[PixelRNN, Tensor], Tensor]] = {
    "genzoo": lambda model, x: model.loss(x)["loss"],
    "skewed scan": partial(pixel_rnn_by, by_skewing),
    "diagonals": partial(pixel_rnn_by, by_diagonals),
}
LOSSES: Mapping[str, Callable[[Any, Tensor], Tensor]] = {
    f"{model}, {name}": loss
    for model, ways in (("NADE", NADES), ("Diagonal BiLSTM", DIAGONALS))
    for name, loss in ways.items()
}


# The peer, reimplemented from the papers and its source.


class PeerNADE(nn.Module):
    """The peer's NADE: a loop over dimensions that scores examples.

    With uniform numbers instead of examples, it draws samples in the same loop.
    """

    def __init__(self, like: NADE) -> None:
        super().__init__()
        start = like.weight, like.bias, like.out_weight[:, 0], like.out_bias[:, 0]
        self.weight, self.bias, self.out_weight, self.out_bias = (
            nn.Parameter(part.detach().clone()) for part in start
        )

    def forward(self, x: Tensor | None, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the probabilities of ones, and the examples, both `(batch, D)`."""
        given = u if x is None else x
        assert given is not None
        a, probabilities, values = self.bias.expand(len(given), -1), [], []
        parts = (
            self.weight.split(1),
            self.out_weight.split(1),
            self.out_bias.split(1),
            given.split(1, 1),
        )
        for weight_d, out_weight_d, out_bias_d, given_d in zip(*parts, strict=True):
            p = torch.sigmoid(torch.addmm(out_bias_d, torch.sigmoid(a), out_weight_d.T))
            value = (given_d < p).to(p.dtype) if x is None else given_d
            a = torch.addmm(a, value, weight_d)
            probabilities.append(p)
            values.append(value)
        return torch.cat(probabilities, 1), torch.cat(values, 1)

    @torch.no_grad()
    def draw(self, u: Tensor) -> Tensor:
        return self(None, u.flatten(1))[1].view_as(u)

    def loss(self, x: Tensor) -> Tensor:
        """Return the negative log-likelihood in nats."""
        x = x.flatten(1)
        return binary_cross_entropy(self(x)[0], x, reduction="none").sum(1).mean()

    def published_loss(self, x: Tensor) -> Tensor:
        """Return the loss that the peer has minimized since November 2020.

        It passes probabilities to a loss that expects logits.
        """
        x = x.flatten(1)
        return nats(self(x)[0], x)


class MaskedConv2d(nn.Conv2d):
    """A convolution with a square kernel, whose later half is set to zero before each use."""

    def __init__(self, inputs: int, outputs: int, kernel: int, center: bool) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        mask = torch.zeros(kernel * kernel)
        mask[: kernel * kernel // 2 + center] = 1
        self.register_buffer("mask", mask.view(kernel, kernel))

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data *= self.mask
        return conv2d(x, self.weight, self.bias, padding=self.padding)


class PeerBlock(nn.Module):
    """ReLU, 1x1, ReLU, masked 3x3, ReLU, 1x1. The residual is added twice, as in the peer."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(2 * features, features, 1)),
            *(nn.ReLU(), MaskedConv2d(features, features, 3, center=True)),
            *(nn.ReLU(), nn.Conv2d(features, 2 * features, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x + self.net(x)


class PeerPixelCNN(nn.Module):
    """A masked 7x7 convolution, residual blocks, and two 1x1 convolutions."""

    def __init__(self, features: int, depth: int, head: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(
            MaskedConv2d(1, 2 * features, 7, center=False),
            *(PeerBlock(features) for _ in range(depth)),
            *(nn.ReLU(), nn.Conv2d(2 * features, head, 1), nn.ReLU(), nn.Conv2d(head, 1, 1)),
        )

    def loss(self, x: Tensor) -> Tensor:
        return nats(self.net(x).flatten(1), x.flatten(1))

    @torch.no_grad()
    def draw(self, u: Tensor, first: int | None = None) -> Tensor:
        """Draw samples as `naive` does. Pixels without a sample are -1, as in the peer."""
        x = torch.full_like(u, -1)
        for d in range(u[0].numel() if first is None else first):
            x.flatten(1)[:, d] = u.flatten(1)[:, d] < self.net(x).flatten(1)[:, d].sigmoid()
        return x


# Checks before the measurements: in double precision, with small images that are not square, and
# with large weights, because small weights hide differences.


def wide(model: Any, scale: float = 0.3) -> Any:
    """Return a model in double precision with large weights."""
    torch.manual_seed(0)
    for parameter in model.double().parameters():
        nn.init.normal_(parameter, std=scale)
    return model


def apart(
    first: Callable[[], Tensor], second: Callable[[], Tensor], parameters: Iterable[Tensor]
) -> float:
    """Return the largest difference of two values and of their gradients by all parameters."""
    parameters = list(parameters)
    (value, *slopes), (other, *others) = (
        (loss := each(), *torch.autograd.grad(loss, parameters)) for each in (first, second)
    )
    return max(
        float((a - b).detach().abs().max())
        for a, b in zip((value, *slopes), (other, *others), strict=True)
    )


def bits(model: Autoregressive, n: int = 5) -> Tensor:
    return torch.randint(2, (n, *model.shape)).double()


def check_nade() -> float:
    model = wide(NADE(hidden=7, shape=(1, 4, 5)))
    x = bits(model).flatten(1)
    reference = partial(NADES["genzoo"], model, x)
    return max(
        apart(reference, partial(NADES[name], model, x), model.parameters()) for name in NADES
    )


def check_diagonal() -> float:
    models = (wide(PixelRNN(hidden=5, depth=2, shape=shape)) for shape in ((1, 4, 7), (1, 6, 3)))
    return max(
        apart(partial(DIAGONALS["genzoo"], model, x), partial(loss, model, x), model.parameters())
        for model, x in ((model, bits(model)) for model in models)
        for loss in DIAGONALS.values()
    )


def check_draws() -> int:
    """Count the numbers that differ between our samples and slow ones, from the same noise."""
    nade = wide(NADE(hidden=7, shape=(1, 4, 5)))
    models = [
        nade,
        *(wide(PixelRNN(layer, hidden=4, depth=2, shape=(1, 4, 9))) for layer in LAYERS),
    ]
    count = 0
    for model in models:
        u = torch.rand(8, *model.shape, dtype=torch.float64)
        others = [naive(model, u)]
        if model is nade:
            others += [recomputed(model, u.flatten(1)).view_as(u), PeerNADE(nade).draw(u)]
        with torch.no_grad():
            samples = model.draw(u, None, None, None)
        count += sum(int((samples != other).sum()) for other in others)
    return count


# Measurements.


def step(loss: Callable[[], Tensor], module: nn.Module) -> Work:
    """Compute a loss and its gradient by the parameters."""

    def run() -> None:
        module.zero_grad(set_to_none=True)
        loss().backward()

    return run


def rows(
    case: str,
    works: Mapping[str, Work],
    rounds: int,
    targets: Mapping[str, float],
    **factors: float,
) -> list[Row]:
    """Run a race, and return one row for each implementation except ours, which is the first.

    A factor multiplies the time of an implementation that did only a part of the work.
    """
    timings = race(works, rounds)
    for name, factor in factors.items():
        timings[name]["cpu"] = [factor * seconds for seconds in timings[name]["cpu"]]
    reference, *others = works
    ms = {name: 1e3 * statistics.median(times["cpu"]) for name, times in timings.items()}
    return [
        {
            "case": case,
            "other": other,
            "ours_ms": ms[reference],
            "other_ms": ms[other],
            "ratio": ratio(timings, reference, other, "cpu"),
            "target": targets.get(other),
            "extrapolated": other in factors,
        }
        for other in others
    ]


def nade(size: Size) -> dict[str, Any]:
    """Compare a likelihood and its gradient with the loop and the cumulative sum."""
    model, x = nade_and_data(size)
    works = {name: step(partial(loss, model, x), model) for name, loss in NADES.items()}
    targets = {"indexed loop": 2.0, "loop": 2.0, "cumsum": 12.0}
    return {
        "apart": check_nade(),
        "rows": rows(f"NADE, D = {size.dims}, H = {size.hidden}", works, size.rounds, targets),
    }


def nade_and_data(size: Size) -> tuple[NADE, Tensor]:
    torch.manual_seed(0)
    return NADE(hidden=size.hidden, shape=size.shape), (
        torch.rand(size.batch, size.dims) < 0.3
    ).float()


def memory(size: Size) -> dict[str, Any]:
    """Measure the memory that a likelihood and its gradient need.

    Each measurement runs in a fresh process.
    """
    quick = ["--quick"] if size == QUICK else []
    results = []
    for case in LOSSES:
        command = [sys.executable, __file__, "--memory", case, *quick]
        runs = [
            float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(size.processes)
        ]
        results.append(
            {
                "case": case,
                "megabytes": sorted(runs),
                "target": 90 if case == "NADE, genzoo" else None,
            }
        )
    return {"rows": results}


def added_memory(case: str, size: Size) -> float:
    """Return the peak growth of this process in megabytes for a likelihood and its gradient."""
    if case.startswith("NADE"):
        model, x = nade_and_data(size)
    else:
        model = pixel_rnn(size, "diagonal-bilstm")
        x = model.example(size.images)
    loss = LOSSES[case]
    step(lambda: loss(model, x[:2]), model)()  # do not count what the first call loads
    model.zero_grad(set_to_none=True)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: reset the peak
    before = peak()
    step(lambda: loss(model, x), model)()
    return (peak() - before) * 2**20 / 1e6


def sampling(size: Size) -> dict[str, Any]:
    """Compare samples of a NADE with two methods that do not store intermediate results."""
    model, _ = nade_and_data(size)
    u = torch.rand(size.draws, *model.shape)
    works = {
        "genzoo": lambda: model.sample(size.draws),
        "recomputed": lambda: recomputed(model, u.flatten(1)),
        "one pass per dimension": lambda: naive(model, u, size.forwards),
    }
    factors = {"one pass per dimension": size.dims / size.forwards}
    case = f"NADE, D = {size.dims}, H = {size.hidden}"
    results = rows(
        case, works, size.rounds, {"recomputed": 10.0, "one pass per dimension": 500.0}, **factors
    )
    return {"differ": check_draws(), "rows": results}


def pixel_rnn(size: Size, layer: str) -> PixelRNN:
    torch.manual_seed(0)
    return PixelRNN(layer, hidden=size.features, depth=size.depth, shape=size.shape)


def diagonal(size: Size) -> dict[str, Any]:
    """Compare a likelihood of the Diagonal BiLSTM and its gradient with autograd."""
    model = pixel_rnn(size, "diagonal-bilstm")
    x = model.example(size.images)
    works = {name: step(partial(loss, model, x), model) for name, loss in DIAGONALS.items()}
    return {
        "apart": check_diagonal(),
        "rows": rows("PixelRNN, diagonal-bilstm", works, size.rounds, {"skewed scan": 2.2}),
    }


def pixels(size: Size) -> dict[str, Any]:
    """Compare samples of PixelRNNs with one forward pass per pixel of the same model."""
    results = []
    u = torch.rand(size.draws, *size.shape)
    for layer in LAYERS:
        model = pixel_rnn(size, layer)
        works = {
            "genzoo": partial(model.sample, size.draws),
            "one pass per pixel": partial(naive, model, u, size.forwards),
        }
        target = {} if layer == "conv" else {"one pass per pixel": 300.0}
        factors = {"one pass per pixel": size.dims / size.forwards}
        results += rows(f"PixelRNN, {layer}", works, max(1, size.rounds // 2), target, **factors)
    return {"differ": check_draws(), "rows": results}


def peers(size: Size) -> dict[str, Any]:
    """Compare speed and scores of the peer's NADE and PixelCNN with ours at equal sizes."""
    model, x = nade_and_data(size)
    peer_nade, u = PeerNADE(model), torch.rand(size.draws, size.dims)
    case, rounds = f"NADE, D = {size.dims}, H = {size.hidden}", size.rounds
    score = {
        "genzoo": step(partial(NADES["genzoo"], model, x), model),
        "peer": step(partial(peer_nade.loss, x), peer_nade),
    }
    results = rows(f"{case}, likelihood and gradient", score, rounds, {})
    draw = {"genzoo": partial(model.sample, size.draws), "peer": partial(peer_nade.draw, u)}
    results += rows(f"{case}, samples", draw, rounds, {})
    pixel_cnn, peer_pixel_cnn = pixel_rnn(size, "conv"), PeerPixelCNN(size.features, size.depth)
    x, u = pixel_cnn.example(size.images), torch.rand(size.draws, *size.shape)
    case = f"PixelCNN, h = {size.features}, {size.depth} layers"
    score = {
        "genzoo": step(lambda: pixel_cnn.loss(x)["loss"], pixel_cnn),
        "peer": step(partial(peer_pixel_cnn.loss, x), peer_pixel_cnn),
    }
    results += rows(f"{case}, likelihood and gradient", score, rounds, {})
    draw = {
        "genzoo": partial(pixel_cnn.sample, size.draws),
        "peer": partial(peer_pixel_cnn.draw, u, size.forwards),
    }
    results += rows(
        f"{case}, samples", draw, max(1, rounds // 2), {}, peer=size.dims / size.forwards
    )
    return {"rows": results, "scores": scores(size)}


def scores(size: Size) -> list[Row]:
    """Train the peer's models and ours on small digits, and score held-out digits."""
    data = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    train, test = (
        data.prepare(torch.as_tensor(data.split(name)["x"])) for name in ("train", "test")
    )
    torch.manual_seed(0)
    start = NADE(hidden=size.units, shape=data.shape)
    torch.manual_seed(0)
    pixel_cnn = PixelRNN("conv", hidden=size.features, depth=size.depth, shape=data.shape)
    torch.manual_seed(0)
    peer = PeerPixelCNN(size.features, size.depth)
    same, published, plain = (
        PeerNADE(start),
        PeerNADE(start),
        lambda model: lambda x: model.loss(x)["loss"],
    )
    cases: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "NADE, genzoo": (start, plain(start), plain(start)),
        "NADE, peer, corrected loss": (same, same.loss, same.loss),
        "NADE, peer, published loss": (published, published.published_loss, published.loss),
        "PixelCNN, genzoo": (pixel_cnn, plain(pixel_cnn), plain(pixel_cnn)),
        "PixelCNN, peer": (peer, peer.loss, peer.loss),
    }
    results = []
    for name, (module, loss, truth) in cases.items():
        seconds = fit(module, loss, train, size.steps)
        with torch.no_grad():
            reported, true = loss(test).item(), truth(test).item()
        count = sum(p.numel() for p in module.parameters())
        results.append(
            {
                "case": name,
                "parameters": count,
                "reported": reported,
                "nats": true,
                "seconds": seconds,
            }
        )
    return results


def fit(
    module: nn.Module, loss: Callable[[Tensor], Tensor], train: Tensor, steps: int, batch: int = 100
) -> float:
    """Train with Adam on batches that are the same for all models, and return the CPU seconds."""
    optimizer, generator = (
        torch.optim.Adam(module.parameters(), lr=1e-3),
        torch.Generator().manual_seed(0),
    )
    begin = time.process_time()
    for _ in range(steps):
        chosen = torch.randint(len(train), (batch,), generator=generator)
        optimizer.zero_grad(set_to_none=True)
        loss(train[chosen]).backward()
        optimizer.step()
    return time.process_time() - begin


# The page.


def columns(head: str, *lines: str) -> list[str]:
    """Return a Markdown table with text in the first column and numbers in the others."""
    return ["", head, "|---|" + "--:|" * (head.count("|") - 2), *lines]


def target(row: Row, sign: str) -> str:
    return "-" if row["target"] is None else f"{sign} {row['target']:g}"


def times(results: Sequence[Row]) -> list[str]:
    return columns(
        "| case | genzoo, ms | other, ms | ratio | target |",
        *(
            f"| {row['case']}, compared with {row['other']} | {row['ours_ms']:,.1f} "
            f"| {'about ' if row['extrapolated'] else ''}{row['other_ms']:,.1f} "
            f"| {row['ratio']:,.1f} | {target(row, '>=')} |"
            for row in results
        ),
    )


def ranged(runs: Sequence[float]) -> str:
    return f"{statistics.median(runs):,.0f} ({min(runs):,.0f} to {max(runs):,.0f})"


def paragraph(*parts: str) -> list[str]:
    return ["", *textwrap.wrap(" ".join(parts), 120, break_on_hyphens=False)]


def equal(part: Mapping[str, Any]) -> str:
    return (
        "In double precision, at small sizes, their values and the gradients of all parameters "
        f"differ from genzoo's by at most {part['apart']:.0e}."
    )


def equal_samples(part: Mapping[str, Any]) -> str:
    return (
        "In double precision, at small sizes and with the same uniform random numbers, all methods "
        f"produce the same samples; number of differing values: {part['differ']}."
    )


def about(size: Size) -> str:
    return (
        f'"About" marks extrapolated values: an image takes {size.dims} passes, so the time of '
        f"{size.forwards} measured forward passes was multiplied by {size.dims} / {size.forwards}."
    )


def network(size: Size) -> str:
    return f"{'x'.join(map(str, size.shape[1:]))}, h = {size.features}, {size.depth} layers"


def nade_section(part: Mapping[str, Any], size: Size) -> list[str]:
    text = paragraph(
        f"The mean negative log-likelihood of {size.batch} examples, forward and backward. genzoo",
        "is compared with three implementations in plain torch. *Indexed loop* is the",
        "straightforward one: a loop over dimensions under autograd that indexes each matrix.",
        "*Loop* is the same loop made as fast as possible: it splits the matrices once and fuses",
        "sums with products. *Cumsum* computes the activations of all dimensions as one cumulative",
        "sum, `(batch, D, H)`. All use the parameters of the same model.",
        equal(part),
    )
    return ["## NADE: likelihood and gradient", *text, *times(part["rows"])]


def memory_section(part: Mapping[str, Any], size: Size) -> list[str]:
    text = paragraph(
        "The table lists the growth of the peak memory of a fresh process that computes a",
        f"likelihood and its gradient once. It includes the gradients. NADE has D = {size.dims}, H",
        f"= {size.hidden}, and batch size {size.batch}; the Diagonal BiLSTM has {network(size)},",
        f"and batch size {size.images}. The other implementations are the same as above. Values",
        f"are medians over {size.processes} processes, with the range in parentheses. They vary",
        "because the allocator keeps a varying amount of freed memory.",
    )
    lines = (
        f"| {row['case']} | {ranged(row['megabytes'])} | {target(row, '<=')} |"
        for row in part["rows"]
    )
    return ["## Memory", *text, *columns("| case | added, MB | target |", *lines)]


def sampling_section(part: Mapping[str, Any], size: Size) -> list[str]:
    text = paragraph(
        f"The task is to generate {size.draws} samples. *Recomputed* computes the activations of",
        "each dimension from all earlier values, with cost O(D^2 H). *One pass per dimension*",
        "evaluates genzoo's likelihood for each dimension, without",
        "gradients.",
        about(size),
        equal_samples(part),
    )
    return ["## NADE: sampling", *text, *times(part["rows"])]


def diagonal_section(part: Mapping[str, Any], size: Size) -> list[str]:
    text = paragraph(
        f"The setup is {network(size)}, and {size.images} images, forward and backward, with the",
        "parameters of the same model. *Skewed scan* uses plain autograd and follows the paper's",
        "description of the layer: each direction skews its map and scans whole columns, including",
        "positions outside the image. *Diagonals* is the fastest autograd version that we could",
        "write: one product for both directions on each diagonal, and only pixels inside the",
        "image. This change accounts for most of the gain over the paper's scan; genzoo's own",
        "backward pass adds the rest.",
        equal(part),
    )
    return ["## Diagonal BiLSTM: likelihood and gradient", *text, *times(part["rows"])]


def pixels_section(part: Mapping[str, Any], size: Size) -> list[str]:
    text = paragraph(
        f"The setup is {network(size)}, and {size.draws} samples. *One pass per pixel* evaluates",
        "the same genzoo model once for each pixel, without gradients.",
        about(size),
        equal_samples(part),
    )
    return ["## PixelRNN: sampling", *text, *times(part["rows"])]


def peers_section(part: Mapping[str, Any], size: Size) -> list[str]:
    speed = paragraph(
        "pytorch-generative could not be installed. The peers in this section are",
        "reimplementations, based on the papers and on its known design; they are not its code.",
        "The peer's NADE loops over dimensions under autograd, with the faster form of the loop,",
        "and samples in the same loop. The peer's PixelCNN multiplies whole square kernels by a",
        "mask and samples with one forward pass per pixel. Sizes are equal: batch size",
        f"{size.batch} for NADE; {network(size)}, and batch size {size.images} for PixelCNN;",
        f"{size.draws} samples. The head of the peer's PixelCNN has one layer less than genzoo's.",
        about(size),
    )
    quality = paragraph(
        "The next table compares scores on scikit-learn's 8x8 digits, binarized at 0.5. Each model",
        f"trains for {size.steps} steps of Adam with learning rate 1e-3 on batches of 100 out of",
        "1,500 images. All models see the same batches. Scores are means over 297 held-out images.",
        f"NADE has {size.units} hidden units and the same initialization in all three rows;",
        f"PixelCNN has h = {size.features} and {size.depth} layers.",
    ) + paragraph(
        "The published version of the peer's NADE passes probabilities to a loss that expects",
        "logits, so it applies the logistic function twice. *Reported* is this loss; *nats* is the",
        "true negative log-likelihood. With a corrected loss, it is the same distribution as",
        "genzoo's and learns the same parameters.",
    )
    lines = (
        f"| {row['case']} | {row['parameters']:,} | {row['reported']:.2f} "
        f"| {row['nats']:.2f} | {row['seconds']:.1f} |"
        for row in part["scores"]
    )
    scored = columns(
        "| model | parameters | reported, test | nats, test | CPU seconds of training |", *lines
    )
    return [
        "## Comparison with pytorch-generative's designs",
        *speed,
        *times(part["rows"]),
        *quality,
        *scored,
    ]


PARTS: Mapping[
    str, tuple[Callable[[Size], dict[str, Any]], Callable[[Mapping[str, Any], Size], list[str]]]
] = {
    "nade": (nade, nade_section),
    "sampling": (sampling, sampling_section),
    "diagonal": (diagonal, diagonal_section),
    "memory": (memory, memory_section),
    "pixels": (pixels, pixels_section),
    "peers": (peers, peers_section),
}
"""Each part's measurement and its section of the page."""


def page(result: Mapping[str, Any]) -> str:
    size = Size(**result["size"])
    text = paragraph(
        f"All values are CPU times on one thread in float32: medians over {size.rounds}",
        "interleaved rounds in one process, after a warm-up round. Sampling from a PixelRNN or a",
        f"PixelCNN uses {max(1, size.rounds // 2)} rounds. Ratios are computed per round; a ratio",
        "above 1 means that genzoo is faster. Targets were set before the measurements. The script",
        "contains the implementations that genzoo is compared with.",
    )
    lines = [
        "# Autoregressive models",
        *text,
        "",
        describe_machine(result, f"genzoo {genzoo.__version__}"),
    ]
    for name, part in result["parts"].items():
        lines += ["", *PARTS[name][1](part, size)]
    return "\n".join([*lines, "", "```", result["command"], "```", ""])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument(
        "--quick", action="store_true", help="use a tiny size, only to check that everything runs"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/autoregressive"))
    parser.add_argument(
        "--memory",
        choices=LOSSES,
        help="print the memory that one implementation adds, in MB, and stop",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    size = QUICK if options.quick else FULL
    if options.memory:
        print(added_memory(options.memory, size))
        return
    parts = {}
    for name in options.parts:
        begin = time.process_time()
        parts[name] = PARTS[name][0](size)
        print(f"{name}: {time.process_time() - begin:.0f} CPU seconds", file=sys.stderr)
    given = [
        *(["--parts", *options.parts] if options.parts != list(PARTS) else []),
        *(["--quick"] if options.quick else []),
    ]
    command = " ".join(["python benchmarks/autoregressive.py", *given])
    result = {**machine(), "command": command, "size": vars(size), "parts": parts}
    write(options.out, result, page(result))


if __name__ == "__main__":
    main()
