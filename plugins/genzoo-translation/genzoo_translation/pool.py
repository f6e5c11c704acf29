"""The memory of generated images from which CycleGAN's critics are shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genzoo.contract import Shape
from genzoo.distributed import gather, rank_and_world_size


class ImagePool(nn.Module):
    """The last images that were generated, or nearly so: a critic that sees old ones too forgets less and oscillates less.

    Until it is full, each image is kept and handed on. From the next batch on, with probability 1/2 each, an image is handed on
    as it is, or takes the place of one that is kept, which is handed on instead. Images of one batch take places of their own,
    which one after the other, as in the authors' code with its batches of one, they need not. All ranks keep the same pool, of
    the global batch.

    Its content is a part of training's state: checkpoints keep it.

    Arguments:
        size: images; 0 hands all on.
        shape: the shape of one image.

    References:
        Learning from Simulated and Unsupervised Images through Adversarial Training, Shrivastava et al., 2017,
        https://arxiv.org/abs/1612.07828

    Example:
        >>> pool = ImagePool(2, (1, 1, 1))
        >>> pool(torch.arange(2.0).view(2, 1, 1, 1)).flatten().tolist(), int(pool.filled)
        ([0.0, 1.0], 2)
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, made: Tensor) -> Tensor:
        """Generated images `(batch, *shape)` -> as many to show."""
        if not len(self.images):
            return made
        rank, _ = rank_and_world_size()
        shown = torch.cat([self._exchange(part) for part in gather(made).split(len(self.images))])
        return shown[rank * made.shape[0] : (rank + 1) * made.shape[0]]

    def _exchange(self, made: Tensor) -> Tensor:
        size, n = len(self.images), made.shape[0]
        noise = torch.rand(2, size, device=made.device)  # the same on every rank
        order = self.filled + torch.arange(n, device=made.device)
        full = self.filled >= size
        where = torch.where(
            full, noise[0].argsort()[:n], order % size
        )  # places differ, so that the order of writing is none
        swap = full & (noise[1, :n] < 0.5)
        mask = swap.view(-1, *[1] * (made.dim() - 1))
        kept = (swap | (order < size)).view_as(mask)
        old = self.images[where].to(made.dtype)
        self.images[where] = torch.where(kept, made, old).to(self.images.dtype)
        self.filled.add_(n).clamp_(max=size)
        return torch.where(mask, old, made)
