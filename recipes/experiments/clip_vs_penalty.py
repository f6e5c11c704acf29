"""Compare gradients by layer, and weights, of a deep critic with clipping and with the penalty.

Clipping makes the gradients of a deep critic vanish or explode, and its weights accumulate at the
limits. The penalty avoids both problems.

This experiment follows figure 1b of Improved Training of Wasserstein GANs (Gulrajani, Ahmed,
Arjovsky, Dumoulin, and Courville, 2017, https://arxiv.org/abs/1704.00028). Critics of 12 ReLU
layers are trained on the Swiss roll. The generator is fixed at the data with added noise from
N(0, I). The weights are clipped at 0.1, 0.01, and 0.001, or a penalty is used. Differences from the
paper:

- The paper does not state the width and the number of steps. Here, both are small.
- The weight of the penalty is 0.1, as in the authors' toy code.
- The plot shows the gradient of the critic's score. It equals the gradient of the loss, except for
  the sign and the mean over examples.

    python recipes/experiments/clip_vs_penalty.py
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from figure import Cells, common_parser, figure, round_to, write
from torch import Tensor, nn

import genzoo
from genzoo import Model
from genzoo.contract import Prior
from genzoo.plots.theme import COLORS, WIDTH
from genzoo.train.players import make_optimizer
from recipes.pages import table

LABELS = {"c = 0.1": 0.1, "c = 0.01": 0.01, "c = 0.001": 0.001, "penalty": None}
LABEL_COLORS = dict(zip(LABELS, (COLORS[4], COLORS[1], COLORS[3], COLORS[2]), strict=True))
BINS = 61
LEARNING_RATES = {"wgan": 5e-5, "wgan-gp": 1e-4}
"""The learning rates of the papers."""


class Noisy(Prior):
    """Data rows with added noise from N(0, I); with an identity generator, a fixed generator."""

    def __init__(self, dim: int, data: Tensor) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("data", data)

    def sample(self, n: int) -> Tensor:
        rows = self.data[torch.randint(len(self.data), (n,))]
        return rows + torch.randn_like(rows)


def train(clip: float | None, data: Tensor, depth: int, width: int, steps: int) -> dict[str, Any]:
    """Train only a critic, and return its gradients by layer and a histogram of its weights."""
    critic = {"name": "mlp", "hidden": [width] * depth, "activation": "relu"}
    method = (
        {"name": "wgan-gp", "penalty_weight": 0.1}
        if clip is None
        else {"name": "wgan", "clip": clip}
    )
    model = genzoo.build(
        {
            **method,
            "latent_dim": 2,
            "critic": critic,
            "prior": Noisy(2, data),
            "generator": nn.Identity(),
        },
        shape=(2,),
    )
    player = model.players()[0]
    settings = {**player.optimizer, "lr": LEARNING_RATES[method["name"]]}
    optimizer = make_optimizer(dict(model.named_parameters()), settings, player.name)
    for _ in range(steps):
        optimizer.zero_grad()
        report = player.loss(data[torch.randint(len(data), (256,))])
        report["loss"].backward()
        optimizer.step()
        if player.after is not None:
            player.after()
    weights = torch.cat([p.detach().flatten() for p in model.critic.parameters() if p.dim() == 2])
    limit = clip or weights.abs().max().item()
    counts = torch.histc(weights, BINS, -limit, limit)
    return {
        "gradient": [round_to(norm) for norm in gradient_by_layer(model, data[:2000])],
        "gap": round_to(report["gap"].item()),
        "limit": limit,
        "histogram": (counts / counts.sum()).tolist(),
        "at_the_limits": round_to((weights.abs() > 0.95 * limit).float().mean().item()),
    }


def gradient_by_layer(model: Model, x: Tensor) -> list[float]:
    """Return mean norms of the score's gradient with respect to the data and each hidden layer.

    The mean is over real and generated examples.
    """
    model = model.double()  # the smallest gradients underflow in float32
    kept = [torch.cat([x.double(), model.prior.sample(len(x))]).requires_grad_()]
    hooks = [
        module.register_forward_hook(lambda _, __, given: kept.append(given))
        for module in model.critic.modules()
        if isinstance(module, nn.ReLU)
    ]
    gradients = torch.autograd.grad(model.critic(kept[0]).sum(), kept)
    for hook in hooks:
        hook.remove()
    return [gradient.norm(dim=1).mean().item() for gradient in gradients]


def draw(path: Path, cells: dict[str, dict[str, Any]]) -> None:
    """Draw gradients by layer, and weight histograms of a clipped and a penalized critic."""
    with figure(path, WIDTH, 2.9) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=(1.15, 1))
        axes = left.subplots()
        for label, cell in cells.items():
            axes.plot(cell["gradient"], ".-", color=LABEL_COLORS[label], label=label)
        axes.axhline(1, color="0.7", linewidth=0.8, zorder=0)
        axes.set(
            yscale="log",
            xlabel="hidden layer (0: the data)",
            ylabel="norm of the score's gradient",
            xlim=(-0.3, None),
        )
        axes.legend()
        for axes, label in zip(right.subplots(2, 1), ("c = 0.01", "penalty"), strict=True):
            cell = cells[label]
            edges = torch.linspace(-cell["limit"], cell["limit"], BINS + 1).tolist()
            axes.stairs(cell["histogram"], edges, fill=True, color=LABEL_COLORS[label])
            axes.set(title=f"weights, {label}", ylabel="share", yscale="log")
        axes.set_xlabel("weight")


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    parser = common_parser(__doc__ or "")
    parser.add_argument("--steps", type=int, default=1500, help="critic steps")
    parser.add_argument("--depth", type=int, default=12, help="hidden layers")
    parser.add_argument("--width", type=int, default=128, help="units per layer")
    options = parser.parse_args(arguments)
    settings = {"steps": options.steps, "depth": options.depth, "width": options.width}
    data = torch.as_tensor(
        genzoo.build({"name": "toy", "distribution": "swiss-roll"}, "datasets").train["x"]
    )
    keep = Cells(options, "clip-vs-penalty", settings)
    cells = {
        label: keep(label, partial(train, clip, data, options.depth, options.width, options.steps))
        for label, clip in LABELS.items()
    }
    draw(options.out / "clip-vs-penalty.png", cells)
    head = [
        "critic",
        "gradient w.r.t. the data",
        "w.r.t. the last hidden layer",
        "factor per layer",
        "weights at the limits",
        "CPU s",
    ]
    rows = []
    for label, cell in cells.items():
        first, last = cell["gradient"][0], cell["gradient"][-1]
        factor = (first / last) ** (1 / options.depth)
        share = "" if LABELS[label] is None else f"{cell['at_the_limits']:.0%}"
        rows.append(
            [
                label,
                f"{first:.2g}",
                f"{last:.2g}",
                f"{factor:.2f}",
                share,
                f"{cell['cpu_seconds']:.0f}",
            ]
        )
    write(options, "clip-vs-penalty", settings, cells, table(head, rows))


if __name__ == "__main__":
    main()
