"""Two distributions on binary vectors with closed forms: the floors that every other likelihood should beat.

A distribution on n bits in general has 2^n - 1 parameters. With independent bits it has n; where each depends on the one before, 2n - 1.
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


class _Pixels(Autoregressive):
    # training solves for the parameters; a gradient step is for those who call the loss themselves
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 0.1}

    def __init__(self, smoothing: float, shape: Shape) -> None:
        super().__init__()
        self.smoothing, self.shape = smoothing, tuple(shape)

    def fit(self, x: Tensor, smoothing: float | None = None) -> Self:
        """Set the most likely parameters for examples `(n, *shape)`, as `solve` does.

        Arguments:
            x: zeros and ones.
            smoothing: in place of the model's, and kept.

        Raises:
            DataError: no examples, another shape, or values that are no bits.
            SettingError: a smoothing below 0.
        """
        if smoothing is not None and smoothing < 0:
            raise SettingError(
                f"smoothing = {smoothing}: expected 0 or more made-up examples of each kind"
            )
        if not x.shape[0]:
            raise DataError("x has no examples to fit to")
        x = x.to(self.reference_tensor.dtype)
        self.check_values(x)
        self.smoothing = self.smoothing if smoothing is None else smoothing
        self.solve([x])
        return self

    @torch.no_grad()
    def solve(self, batches: Iterable[Tensor]) -> None:
        """Set the most likely parameters for the examples of all batches, each `(batch, *shape)`; the trainer calls it."""
        counts = torch.stack([self.count(x.flatten(1).double()) for x in batches]).sum(0)
        ones, total = counts[:, 0] + self.smoothing, counts[:, 1] + 2 * self.smoothing
        # finite, so that frequencies of 0 and 1 keep a way back
        self.set_log_odds(torch.where(total > 0, ones / total, 0.5).logit(eps=1e-9))

    def count(self, bits: Tensor) -> Tensor:
        """Ones, and examples that count, for each kind of parameter and dimension: `(batch, D)` -> `(kinds, 2, D)`."""
        raise NotImplementedError

    def set_log_odds(self, log_odds: Tensor) -> None:
        """Set the parameters from the log-odds of a one, `(kinds, D)`."""
        raise NotImplementedError

    def logits(self, before: Tensor) -> Tensor:
        """Each dimension's logit, given the one before it in raster order (0 before the first): `(batch, D)` to the same."""
        raise NotImplementedError

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:  # noqa: ARG002
        return level_distribution(
            self.logits(_before(x.flatten(1))).unflatten(1, self.shape)[..., None]
        )

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:  # noqa: ARG002
        """Along the chain: a bit's two possible values are drawn for all dimensions at once, then the right one is followed."""
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
    r"""Every bit on its own, \( p(x) = \prod_d p_d^{x_d} (1 - p_d)^{1 - x_d} \): n parameters.

    Training sets them in closed form, \( p_d \) the frequency of ones; so does `fit`, in memory.

    Arguments:
        smoothing: made-up ones, and made-up zeros, that are added to the examples of each bit.
        shape: the shape of one example, whose values are zeros and ones.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
        >>> Independent(smoothing=0, shape=(2,)).fit(x).log_prob(x).exp()
        tensor([0.5000, 0.5000], grad_fn=<ExpBackward0>)
    """

    def __init__(self, smoothing: NonNegativeFloat = 0.5, shape: Shape = (1, 28, 28)) -> None:
        super().__init__(smoothing, shape)
        self.logit = nn.Parameter(torch.zeros(math.prod(shape)))

    def logits(self, before: Tensor) -> Tensor:
        return self.logit.expand_as(before)

    def count(self, bits: Tensor) -> Tensor:
        return torch.stack([bits.sum(0), torch.ones_like(bits).sum(0)])[None]

    def set_log_odds(self, log_odds: Tensor) -> None:
        self.logit.copy_(log_odds[0])


class Markov(_Pixels):
    r"""Each bit given the one before it in raster order: 2n - 1 parameters.

    \[ p(x) = p(x_1) \prod_{d > 1} p(x_d \mid x_{d-1}) \]

    Training sets them in closed form, as frequencies of ones after a zero and after a one; so does `fit`, in memory.

    Arguments:
        smoothing: made-up ones, and made-up zeros, that are added to the examples of each case.
        shape: the shape of one example, whose values are zeros and ones.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> Markov(smoothing=0, shape=(2,)).fit(x).log_prob(x).exp()
        tensor([0.5000, 0.5000], grad_fn=<ExpBackward0>)
    """

    def __init__(self, smoothing: NonNegativeFloat = 0.5, shape: Shape = (1, 28, 28)) -> None:
        super().__init__(smoothing, shape)
        dims = math.prod(shape)
        self.after_zero = nn.Parameter(torch.zeros(dims))
        self.after_one = nn.Parameter(torch.zeros(dims - 1))

    def logits(self, before: Tensor) -> Tensor:
        after_one = torch.cat([self.after_zero[:1], self.after_one])
        return torch.where(before > 0, after_one, self.after_zero)

    def count(self, bits: Tensor) -> Tensor:
        before = _before(bits)
        return torch.stack(
            [torch.stack([(bits * case).sum(0), case.sum(0)]) for case in (1 - before, before)]
        )

    def set_log_odds(self, log_odds: Tensor) -> None:
        self.after_zero.copy_(log_odds[0])
        self.after_one.copy_(log_odds[1, 1:])


def _before(x: Tensor) -> Tensor:
    """Each dimension's predecessor, 0 for the first: `(batch, D)`."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
