"""The pool of generated images for CycleGAN's critics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genzoo.contract import Shape
from genzoo.distributed import gather, rank_and_world_size

__all__ = ["ImagePool"]


class ImagePool(nn.Module):
    """A pool of recently generated images. A critic that also sees older images oscillates less.

    Until the pool is full, it stores and returns each image. Then, with probability 1/2, it returns
    an image unchanged. Otherwise, the image replaces a stored image, which is returned. Images of
    one batch replace different stored images. In the authors' code, with its batches of one,
    images that follow each other may replace the same one. All ranks store the same pool, of the
    global batch.

    The content belongs to the state of training, and checkpoints contain it.

    Arguments:
        size: the number of images; with 0, all images are returned unchanged.
        shape: the shape of one image.

    References:
        Learning from Simulated and Unsupervised Images through Adversarial Training, Shrivastava,
        Pfister, Tuzel, Susskind, Wang and Webb, 2017, https://arxiv.org/abs/1612.07828

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
    def forward(self, images: Tensor) -> Tensor:
        """Return images for the critic, as many as the generated images, `(batch, *shape)`."""
        if not len(self.images):
            return images
        rank, _ = rank_and_world_size()
        chunks = gather(images).split(len(self.images))
        shown = torch.cat([self._exchange(chunk) for chunk in chunks])
        return shown[rank * images.shape[0] : (rank + 1) * images.shape[0]]

    def _exchange(self, images: Tensor) -> Tensor:
        """Store some of at most `size` images, and return the images for the critic."""
        size, n = len(self.images), images.shape[0]
        noise = torch.rand(2, size, device=images.device)  # the same on every rank
        order = self.filled + torch.arange(n, device=images.device)
        full = self.filled >= size
        # All indices are different, so the order of writing does not matter.
        index = torch.where(full, noise[0].argsort()[:n], order % size)
        swap = full & (noise[1, :n] < 0.5)
        mask = swap.view(-1, *[1] * (images.dim() - 1))
        store = (swap | (order < size)).view_as(mask)
        old = self.images[index].to(images.dtype)
        self.images[index] = torch.where(store, images, old).to(self.images.dtype)
        self.filled.add_(n).clamp_(max=size)
        return torch.where(mask, old, images)
