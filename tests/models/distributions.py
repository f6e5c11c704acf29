"""Parts for generators with a known distribution.

The prior is a fixed sample in a random order, and the generator returns it unchanged.
"""

import torch
from torch import nn

from genzoo.contract import Prior


class Sample(Prior):
    """A prior whose samples are the rows of a tensor, each once, in a random order."""

    def __init__(self, x):
        super().__init__()
        self.register_buffer("x", x)
        self.dim = x.shape[1]

    def sample(self, n):
        assert n == len(self.x)
        return self.x[torch.randperm(n)]


class Shift(nn.Module):
    """A generator that adds a parameter to latent vectors."""

    def __init__(self, offset=0.0):
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(float(offset)))

    def forward(self, z):
        return z + self.offset


def quantiles(n, mean=0.0, sd=1.0):
    """Return n equally spaced quantiles of a normal distribution, `(n, 1)`."""
    shares = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return (mean + sd * torch.special.ndtri(shares))[:, None].float()


def train_critic(model, real, steps, **settings):
    """Train only the critic of a model, with a learning rate that falls linearly to 0."""
    player = model.players()[0]
    optimizer = torch.optim.Adam(player.parameters(), **settings)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        player.loss(real[torch.randperm(len(real))])["loss"].backward()
        optimizer.step()
        schedule.step()
    return {name: value.item() for name, value in player.loss(real).items()}
