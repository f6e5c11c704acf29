"""Compare distances between two parallel lines, and the gradients that they give to samples.

This is example 1 of Wasserstein GAN (Arjovsky, Chintala, and Bottou, 2017,
https://arxiv.org/abs/1701.07875). The data are uniform on the line from (0, 0) to (0, 1), and the
samples on the line from (t, 0) to (t, 1). For t other than 0, the lines do not meet. Then the total
variation distance is 1, the Jensen-Shannon divergence is log 2, and the Kullback-Leibler divergence
is infinite: none of them tells how far apart the lines are. The Wasserstein distance is |t|.

The lines are samples of equal size, so that each distance is computed as for any other samples.
The gradient is that with respect to the samples. Differences from the paper: the MMD is added, and
a critic estimates the Wasserstein distance in its dual form.

    python recipes/experiments/parallel_lines.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from figure import Cells, common_parser, figure, round_to, write
from torch import Tensor

import genzoo
from genzoo.divergences import histograms, jensen_shannon, kullback_leibler, total_variation
from genzoo.plots.theme import COLORS as PALETTE
from genzoo.plots.theme import WIDTH
from recipes.pages import table

COLORS = {
    "Wasserstein": PALETTE[2],
    "critic": PALETTE[4],
    "MMD": PALETTE[3],
    "Jensen-Shannon": PALETTE[0],
    "total variation": PALETTE[1],
}
SHIFTS = [round(-1 + 0.05 * i, 2) for i in range(41)]
CRITIC_SHIFTS = (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)
FIELD = 0.6
"""The shift of the line in the pictures of gradients."""
MMD_SCALE = 0.5
"""The squared width of the kernel."""
BINS = 81
"""An odd number, so that the line at 0 and the line at t share a bin only if t is 0."""


def line(t: float, n: int) -> Tensor:
    """Return n points at equal distances on the line from (t, 0) to (t, 1)."""
    return torch.stack([torch.full((n,), float(t)), torch.linspace(0, 1, n)], dim=1)


def differentiable() -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
    """Return the distances that have a gradient with respect to samples."""
    kernel = {"kernel": "rbf", "scales": [1.0], "bandwidth": MMD_SCALE}
    mmd = genzoo.build({"name": "mmd", **kernel}, "divergences")
    return {"Wasserstein": genzoo.build("wasserstein", "divergences"), "MMD": mmd}


def distances(t: float, n: int) -> dict[str, float | None]:
    """Return each distance between the lines at 0 and at t, or None if it is infinite."""
    data, samples = line(0, n), line(t, n)
    p, q = histograms(data, samples, BINS)
    values = {name: distance(samples, data) for name, distance in differentiable().items()}
    values["Jensen-Shannon"] = jensen_shannon(p, q)
    values["total variation"] = total_variation(p, q)
    values["Kullback-Leibler"] = kullback_leibler(p, q)
    return {
        name: round_to(value.item(), 6) if value.isfinite() else None
        for name, value in values.items()
    }


def descent(t: float, n: int) -> dict[str, Any]:
    """Return the direction in which each sample moves to reduce each distance.

    The directions are scaled by n, because each sample has 1 / n of the mass.
    """
    directions = {}
    for name, distance in differentiable().items():
        samples = line(t, n).requires_grad_()
        (gradient,) = torch.autograd.grad(distance(samples, line(0, n)), samples)
        directions[name] = (-n * gradient).tolist()
    return directions


def dual(t: float, n: int, steps: int) -> dict[str, float]:
    r"""Return the dual estimate of the Wasserstein distance: the gap of a trained critic.

    The penalty on slopes above 1 has the weight 100, with which the gap is too large by about
    \( W^2 / 200 \).
    """
    model = genzoo.build(
        {
            "name": "wgan-gp",
            "penalty": {"name": "gradient-penalty", "sides": "one"},
            "penalty_weight": 100.0,
            "critic": {"name": "mlp", "hidden": [64, 64]},
        },
        shape=(2,),
    )
    data, samples = line(0, n), line(t, n)
    optimizer = torch.optim.Adam(model.critic.parameters(), lr=2e-3, betas=(0.0, 0.9))
    for _ in range(steps):
        penalty = model.penalty(model.critic, data, samples)
        gap = model.critic(data).mean() - model.critic(samples).mean()
        optimizer.zero_grad()
        (model.penalty_weight * penalty - gap).backward()
        optimizer.step()
    return {"critic": round_to(gap.item())}


def draw(path: Path, curves: Mapping[str, Any], field: Mapping[str, Any]) -> None:
    """Draw the distances over the shift, and the gradients at one shift."""
    with figure(path, WIDTH, 2.6) as fig:
        left, right = fig.subfigures(1, 2, width_ratios=(1.05, 1))
        axes = left.subplots()
        for name, color in COLORS.items():
            values = {float(t): row[name] for t, row in curves.items() if name in row}
            style = "o" if name == "critic" else "-"
            label = "critic (dual)" if name == "critic" else name
            axes.plot([*values], [*values.values()], style, color=color, label=label, markersize=4)
        axes.set(xlabel="shift of the line", ylabel="distance", ylim=(-0.05, 1.8))
        axes.legend(ncols=2, loc="upper center")
        panels = [*field, "Jensen-Shannon"]
        for axes, name in zip(right.subplots(1, len(panels), sharey=True), panels, strict=True):
            arrows = torch.tensor(field.get(name, []))
            points = line(FIELD, 9)
            axes.plot([0, 0], [0, 1], color="0.6", linewidth=3, solid_capstyle="round")
            axes.plot(*points.T.tolist(), ".", color=COLORS[name])
            if len(arrows):
                axes.quiver(
                    *points.T.tolist(),
                    *(0.25 * arrows).T.tolist(),
                    color=COLORS[name],
                    angles="xy",
                    scale_units="xy",
                    scale=1,
                    width=0.02,
                )
            axes.set(title=name, xlim=(-0.15, 0.8), xticks=[0, FIELD], ylim=(-0.1, 1.1))


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    parser = common_parser(__doc__ or "")
    parser.add_argument("--n", type=int, default=200, help="points on each line")
    parser.add_argument("--steps", type=int, default=1500, help="steps of each critic")
    options = parser.parse_args(arguments)
    settings = {"n": options.n, "steps": options.steps}
    keep = Cells(options, "parallel-lines", settings)
    curves = keep("distances", lambda: {str(t): distances(t, options.n) for t in SHIFTS})
    for t in CRITIC_SHIFTS:
        cell = keep(f"critic {t}", partial(dual, t, options.n, options.steps))
        curves[str(t)]["critic"] = cell["critic"]
    gradients = keep("gradients", lambda: descent(FIELD, 9))
    for cell in (curves, gradients):
        del cell["cpu_seconds"]
    draw(options.out / "parallel-lines.png", curves, gradients)
    head = ["shift", "TV", "JS, nats", "KL, nats", "W1", "critic (dual)", "MMD^2"]
    names = (
        "total variation",
        "Jensen-Shannon",
        "Kullback-Leibler",
        "Wasserstein",
        "critic",
        "MMD",
    )
    rows = [
        [f"{t:g}", *(_number(curves[str(t)].get(name, "")) for name in names)]
        for t in (0.0, 0.2, 0.6, 1.0)
    ]
    write(
        options, "parallel-lines", settings, {**curves, "gradients": gradients}, table(head, rows)
    )


def _number(value: float | str | None) -> str:
    """Return the text of a cell."""
    if value is None:
        return "infinite"
    return value if isinstance(value, str) else f"{value:.3f}"


if __name__ == "__main__":
    main()
