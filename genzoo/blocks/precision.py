"""Single precision for computations that are too inaccurate in half precision."""

import torch
from torch import Tensor

__all__ = ["at_least_single"]


def at_least_single(x: Tensor) -> Tensor:
    """Return x in single precision or better.

    Half precision is too inaccurate for probabilities of rare events, counts, and long sums. It
    distinguishes 256 numbers between 0.5 and 1, and has no odd numbers above 256 (bfloat16) or
    2,048 (float16).

    Example:
        >>> at_least_single(torch.ones(2, dtype=torch.bfloat16)).dtype
        torch.float32
        >>> at_least_single(torch.ones(2).double()).dtype
        torch.float64
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
