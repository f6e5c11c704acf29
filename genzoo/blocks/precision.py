"""Where half precision does not do."""

import torch
from torch import Tensor


def at_least_single(x: Tensor) -> Tensor:
    """In single precision at least, for what half precision spoils: probabilities of rare events, counts, and long sums.

    Half precision tells 256 numbers apart between 0.5 and 1, and knows no odd numbers above 256 (bfloat16) or 2,048 (float16).

    Example:
        >>> at_least_single(torch.ones(2, dtype=torch.bfloat16)).dtype, at_least_single(torch.ones(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))
