"""The sharpness of images: the variance of their Laplacian."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from genzoo.contract import Evidence, Measurement
from genzoo.metrics.one_output import ImageMetric

__all__ = ["Sharpness", "laplacian_variance"]

_LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green, and blue in a gray image."""


def laplacian_variance(images: Tensor) -> Tensor:
    r"""Compute the variance of the Laplacian of gray images, a measure of their sharpness.

    \[ \operatorname{Var}_{ij} \big( x_{i+1,j} + x_{i-1,j} + x_{i,j+1} + x_{i,j-1} - 4 x_{ij} \big)
    \]

    Pixels at the border have no Laplacian. Color images are converted to gray.

    Arguments:
        images: images, `(n, C, H, W)`, of at least 3 x 3 pixels.

    Returns:
        `(n,)`.

    References:
        Wasserstein Auto-Encoders, Ilya Tolstikhin et al., 2018, https://arxiv.org/abs/1711.01558
            (section 4)

    Example:
        >>> board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(3, 3)
        >>> laplacian_variance(board[None, None])  # the Laplacian is 4 or -4
        tensor([16.])
    """
    gray = images.float()
    if images.shape[1] == 3:
        gray = (gray * gray.new_tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    else:
        gray = gray.mean(dim=1, keepdim=True)
    kernel = gray.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return conv2d(gray, kernel[None, None]).flatten(1).var(dim=1, correction=0)


class Sharpness(ImageMetric):
    """The mean sharpness of samples, next to that of real images.

    See `laplacian_variance`. The floor is the value of held-out images. Below it, samples are
    blurred. Above it, they have noise, which the measure does not distinguish from detail.

    Returns:
        `laplacian_variance`, the mean over samples, with its standard error.

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> (row,) = evaluate(vae, "digits", "sharpness", n=50)
        >>> row.quantity, row.value < row.floor  # no training yet
        ('laplacian_variance', True)
    """

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        real, generated = [], []
        for x, samples in evidence.pairs():
            real.append(laplacian_variance(x).double().cpu())
            generated.append(laplacian_variance(samples).double().cpu())
        row = Measurement.from_examples("laplacian_variance", torch.cat(generated))
        yield replace(row, floor=torch.cat(real).mean().item())
