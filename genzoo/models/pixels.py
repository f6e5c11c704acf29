"""Two closed-form distributions on binary vectors, which are baselines for other models.

A general distribution on n bits has 2^n - 1 parameters. With independent bits it has n parameters,
and if each bit depends on the one before it, 2n - 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from genzoo.contract import NonNegativeFloat, Shape
from genzoo.errors import DataError, SettingError
from genzoo.models.autoregressive import Autoregressive, draw_level, level_distribution

__all__ = ["Independent", "Markov"]


class _Pixels(Autoregressive):
    # Training computes the parameters in closed form. Only users who call the loss themselves take
    # gradient steps.
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 0.1}

    def __init__(self, *, smoothing: float, shape: Shape) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.shape = tuple(shape)

    def fit(self, x: Tensor, smoothing: float | None = None) -> Self:
        """Set the maximum-likelihood parameters for some examples, as `solve` does.

        Arguments:
            x: examples of zeros and ones, `(n, *shape)`.
            smoothing: a new value for the model's `smoothing`.

        Raises:
            DataError: there are no examples, or they have another shape or other values.
            SettingError: `smoothing` is negative.
        """
        if smoothing is not None and smoothing < 0:
            raise SettingError(
                f"smoothing = {smoothing}: expected 0 or more pseudo-examples of each value."
            )
        if not x.shape[0]:
            raise DataError("x has no examples to fit to; pass at least one.")
        x = x.to(self.reference_tensor.dtype)
        self.check_values(x)
        self.smoothing = self.smoothing if smoothing is None else smoothing
        self.solve([x])
        return self

    @torch.no_grad()
    def solve(self, batches: Iterable[Tensor]) -> None:
        """Set the maximum-likelihood parameters for the examples of all batches.

        The trainer calls this method.

        Arguments:
            batches: examples of zeros and ones, each `(batch, *shape)`.
        """
        counts = torch.stack([self.count(x.flatten(1).double()) for x in batches]).sum(0)
        ones, total = counts[:, 0] + self.smoothing, counts[:, 1] + 2 * self.smoothing
        # Log-odds stay finite, so that gradient steps can move frequencies away from 0 and 1.
        self.set_log_odds(torch.where(total > 0, ones / total, 0.5).logit(eps=1e-9))

    def count(self, bits: Tensor) -> Tensor:
        """Count the ones and the examples for each set of parameters and each dimension.

        Arguments:
            bits: examples, `(batch, D)`.

        Returns:
            `(sets, 2, D)`.
        """
        raise NotImplementedError

    def set_log_odds(self, log_odds: Tensor) -> None:
        """Set the parameters to the log-odds of a one, `(sets, D)`."""
        raise NotImplementedError

    def logits(self, before: Tensor) -> Tensor:
        """Return the logit of each dimension given the one before it in raster order.

        Arguments:
            before: the values of the previous dimensions, 0 before the first, `(batch, D)`.

        Returns:
            `(batch, D)`.
        """
        raise NotImplementedError

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:  # noqa: ARG002
        logits = self.logits(_before(x.flatten(1))).unflatten(1, self.shape)
        return level_distribution(logits[..., None])

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:  # noqa: ARG002
        """Sample along the chain.

        Each bit is sampled for both values of the bit before it, for all dimensions at once. Then
        the chain selects the sample that fits.
        """
        chance = u.flatten(1)
        either = [
            draw_level(self.logits(torch.full_like(chance, bit))[..., None], chance)
            for bit in (0.0, 1.0)
        ]
        if x is not None and keep is not None:
            either = [torch.where(keep.flatten(1), x.flatten(1), value) for value in either]
        columns = [either[0][:, 0]]
        for zero, one in zip(either[0].T[1:], either[1].T[1:], strict=True):
            columns.append(torch.where(columns[-1] > 0, one, zero))
        return torch.stack(columns, 1).unflatten(1, self.shape)


class Independent(_Pixels):
    r"""A distribution of independent bits, with n parameters.

    \[ p(x) = \prod_d p_d^{x_d} (1 - p_d)^{1 - x_d} \]

    Training sets \( p_d \) to the frequency of ones, in closed form. `fit` does the same for
    examples in memory.

    Arguments:
        smoothing: the number of ones, and of zeros, that are added to the examples of each bit.
        shape: the shape of one example, whose values are zeros and ones.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        >>> Independent(smoothing=0, shape=(2,)).fit(x).log_prob(x).exp()
        tensor([0.5000, 0.5000], grad_fn=<ExpBackward0>)
    """

    def __init__(self, smoothing: NonNegativeFloat = 0.5, *, shape: Shape = (1, 28, 28)) -> None:
        super().__init__(smoothing=smoothing, shape=shape)
        self.logit = nn.Parameter(torch.zeros(math.prod(shape)))

    def logits(self, before: Tensor) -> Tensor:
        return self.logit.expand_as(before)

    def count(self, bits: Tensor) -> Tensor:
        return torch.stack([bits.sum(0), torch.ones_like(bits).sum(0)])[None]

    def set_log_odds(self, log_odds: Tensor) -> None:
        self.logit.copy_(log_odds[0])


class Markov(_Pixels):
    r"""A Markov chain of bits in raster order, with 2n - 1 parameters.

    \[ p(x) = p(x_1) \prod_{d > 1} p(x_d \mid x_{d-1}) \]

    Training sets the parameters to the frequencies of ones after a zero and after a one, in closed
    form. `fit` does the same for examples in memory.

    Arguments:
        smoothing: the number of ones, and of zeros, that are added to the examples of each case.
        shape: the shape of one example, whose values are zeros and ones.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> Markov(smoothing=0, shape=(2,)).fit(x).log_prob(x).exp()
        tensor([0.5000, 0.5000], grad_fn=<ExpBackward0>)
    """

    def __init__(self, smoothing: NonNegativeFloat = 0.5, *, shape: Shape = (1, 28, 28)) -> None:
        super().__init__(smoothing=smoothing, shape=shape)
        dims = math.prod(shape)
        self.after_zero = nn.Parameter(torch.zeros(dims))
        self.after_one = nn.Parameter(torch.zeros(dims - 1))

    def logits(self, before: Tensor) -> Tensor:
        after_one = torch.cat([self.after_zero[:1], self.after_one])
        return torch.where(before > 0, after_one, self.after_zero)

    def count(self, bits: Tensor) -> Tensor:
        before = _before(bits)
        after_zero, after_one = (
            torch.stack([(bits * case).sum(0), case.sum(0)]) for case in (1 - before, before)
        )
        return torch.stack([after_zero, after_one])

    def set_log_odds(self, log_odds: Tensor) -> None:
        self.after_zero.copy_(log_odds[0])
        self.after_one.copy_(log_odds[1, 1:])


def _before(x: Tensor) -> Tensor:
    """Return the value before each dimension, 0 for the first: `(batch, D)`."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
