"""A deep NADE for every order of the dimensions, and mixtures over orders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import binary_cross_entropy_with_logits

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Count, Positive, Shape
from genzoo.distributed import uniform
from genzoo.errors import SettingError
from genzoo.models.autoregressive import Autoregressive, draw_level, level_distribution
from genzoo.models.conditioning import Classes
from genzoo.progress import track

__all__ = ["EoNADE"]


class EoNADE(Autoregressive):
    r"""A mixture over orders of the dimensions of binary vectors, with one deep network for all.

    The network sees a mask m of the known dimensions and their values, and returns a logit for
    every dimension. It is trained on masks of all sizes, so it serves every order. The loss is
    unbiased for the mean negative log-likelihood over all D! orders:

    \[ E_{d \sim U\{0, \dots, D - 1\}} E_{m : |m| = d} \frac{D}{D - d}
       \sum_{i \notin m} - \log p(x_i \mid x_m) = E_o \big[ - \log p(x \mid o) \big] \]

    The distribution is the mixture of M fixed orders, and each order has an exact likelihood:

    \[ p(x) = \frac1M \sum_{j=1}^M p(x \mid o_j) \]

    `complete` conditions on all kept values, wherever they are: it samples the missing values after
    them, in the order of one of the M orders. For one missing value, this is the network's
    prediction. For several, another order would have another distribution.

    Arguments:
        hidden: widths of the hidden layers.
        orderings: M. A likelihood costs M times D passes through all hidden layers but the first.
        order_seed: the seed of the orders.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels. Each label adds a bias to the hidden units.
        shape: the shape of one example, `(C, H, W)` or `(D,)`, whose values are zeros and ones.

    Raises:
        SettingError: there is no hidden layer.

    References:
        A Deep and Tractable Density Estimator, Uria, Murray and Larochelle, 2014,
            https://arxiv.org/abs/1310.1757

    Example:
        >>> model = EoNADE(hidden=(16,), orderings=2, shape=(1, 4, 4))
        >>> model.log_prob(model.sample(3)).shape
        torch.Size([3])
    """

    orders: Tensor

    def __init__(
        self,
        hidden: tuple[Positive, ...] = (500, 500),
        *,
        orderings: Count = 8,
        order_seed: int = 0,
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.condition_on(classes)
        if not hidden:
            raise SettingError(
                "hidden = (): an EoNADE needs a hidden layer, as in hidden = (500,)."
            )
        self.shape = tuple(shape)
        dims = math.prod(self.shape)
        generator = torch.Generator().manual_seed(order_seed)
        orders = torch.stack([torch.randperm(dims, generator=generator) for _ in range(orderings)])
        self.register_buffer("orders", orders, persistent=False)
        bound = 1 / math.sqrt(2 * dims)
        # Weights of the known values, and of the mask of known dimensions.
        self.weight = nn.Parameter(torch.empty(dims, hidden[0]).uniform_(-bound, bound))
        self.flag_weight = nn.Parameter(torch.empty(dims, hidden[0]).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(hidden[0]))
        self.deep = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise(hidden))
        self.out_weight = nn.Parameter(
            torch.empty(dims, hidden[-1]).uniform_(-1, 1) / math.sqrt(hidden[-1])
        )
        self.out_bias = nn.Parameter(torch.zeros(dims))
        self.label_bias = self.new_label_bias(hidden[0])

    @property
    def orderings(self) -> int:
        """The number of orders, M."""
        return len(self.orders)

    def features(self, a: Tensor) -> Tensor:
        """Return the last hidden layer, computed from the pre-activations of the first."""
        h = a.relu().to(self.weight.dtype)
        for layer in self.deep:
            h = layer(h).relu()
        return h

    def logits(self, x: Tensor, known: Tensor, given: Tensor | None = None) -> Tensor:
        """Return a logit for every dimension.

        Arguments:
            x: examples, `(batch, D)`.
            known: True or 1 for the known values, `(batch, D)`.
            given: labels, `(batch,)`, if the model is conditional.

        Returns:
            `(batch, D)`.
        """
        known = known.to(x.dtype)
        bias = self.biased(self.bias, given, x.shape[0])
        a = torch.addmm(torch.addmm(bias, x * known, self.weight), known, self.flag_weight)
        return torch.addmm(self.out_bias, self.features(a), self.out_weight.T)

    def loss(self, batch: Any) -> Mapping[str, Tensor]:
        """Estimate the mean negative log-likelihood over all orders with one mask per example.

        It is an upper bound on the nats and bits of the mixture.
        """
        x, given = self.unpack(batch)
        x = x.flatten(1)
        batch_size, dims = x.shape
        size = _uniform_integers(dims, uniform(batch_size, 1, like=x))
        # The comparison is of integers, because half precision cannot represent all of them.
        known = uniform(batch_size, dims, like=x).argsort(1).argsort(1) < size
        logits = at_least_single(self.logits(x, known, given))
        nats = binary_cross_entropy_with_logits(logits, at_least_single(x), reduction="none")
        loss = ((nats * ~known).sum(1) * dims / (dims - size.squeeze(1))).mean()
        return {"loss": loss, "bits_per_dim_bound": loss / (dims * math.log(2))}

    def _log_prob(self, x: Tensor, given: Any) -> Tensor:
        bits = at_least_single(x)
        log_probs = [
            self.distribution(x, given, ordering=j).log_prob(bits).flatten(1).sum(1)
            for j in range(self.orderings)
        ]
        return torch.stack(log_probs).logsumexp(0) - math.log(self.orderings)

    def conditionals(self, x: Tensor, given: Any = None, ordering: int = 0) -> Distribution:
        """Return the distribution of each value given the values before it in one of the orders.

        Their product is the likelihood under that order; `log_prob` averages over all orders.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: labels, `(batch,)`, if the model is conditional.
            ordering: the index of the order, from 0 to M - 1.

        Returns:
            A `Bernoulli` of batch shape `(batch, *shape)`.

        Raises:
            DataError: the examples do not have the model's shape, or are not zeros and ones.
            SettingError: `ordering` is out of range.
        """
        if not 0 <= ordering < self.orderings:
            raise SettingError(
                f"ordering = {ordering}: this model has orders 0 to {self.orderings - 1}."
            )
        self.check_values(x, given)
        return self.distribution(x, given, ordering)

    def distribution(self, x: Tensor, given: Any = None, ordering: int = 0) -> Distribution:
        order = self.orders[ordering]
        a = at_least_single(self.biased(self.bias, given, x.shape[0])).expand(x.shape[0], -1)
        compute = self._logits_at_once if torch.compiler.is_exporting() else self._logits_in_turn
        in_raster_order = compute(x.flatten(1), a, order).index_select(1, order.argsort())
        return level_distribution(in_raster_order.unflatten(1, self.shape)[..., None])

    def _logits_in_turn(self, x: Tensor, a: Tensor, order: Tensor) -> Tensor:
        """Return the logits in an order, `(batch, D)`, from the first pre-activations `a`."""
        logits = []
        for i in order.tolist():
            logits.append(self.features(a) @ self.out_weight[i] + self.out_bias[i])
            a = a + x[:, i, None] * self.weight[i] + self.flag_weight[i]
        return torch.stack(logits, 1)

    def _logits_at_once(self, x: Tensor, a: Tensor, order: Tensor) -> Tensor:
        """Return the same in few operations, which an exported program needs, and D layers."""
        steps = x[:, order, None] * self.weight[order] + self.flag_weight[order]
        a = torch.cat([a[:, None], steps[:, :-1]], 1).cumsum(1)
        return (self.features(a) * self.out_weight[order]).sum(2) + self.out_bias[order]

    def draw_uniforms(self, n: int) -> Tensor:
        """Return a number for each dimension and one that chooses the order: `(n, D + 1)`."""
        return uniform(n, self.orders.shape[1] + 1, like=self.reference_tensor)

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        """Sample each example in an order that is chosen at random from the model's orders.

        Kept values come first, followed by the others.
        """
        n, dims = u.shape[0], self.orders.shape[1]
        chance, choice = u[:, :dims], u[:, dims]
        samples = torch.zeros_like(chance) if x is None else x.flatten(1).clone()
        orders = self.orders[_uniform_integers(self.orderings, choice)]
        if keep is not None:
            kept = keep.flatten(1).gather(1, orders).to(torch.uint8)
            orders = orders.gather(1, kept.argsort(dim=1, descending=True, stable=True))
        rows = torch.arange(n, device=u.device)
        a = at_least_single(self.biased(self.bias, given, n)).expand(n, -1).clone()
        for i in track(orders.T, "drawing", total=dims):
            logit = (self.features(a) * self.out_weight[i]).sum(1) + self.out_bias[i]
            value = draw_level(logit[:, None], chance[rows, i])
            if keep is not None:
                value = torch.where(keep.flatten(1)[rows, i], samples[rows, i], value)
            samples[rows, i] = value
            a += value[:, None] * self.weight[i] + self.flag_weight[i]
        return samples.unflatten(1, self.shape)


def _uniform_integers(n: int, u: Tensor) -> Tensor:
    """Map uniform numbers to integers from 0 to n - 1, all equally likely."""
    # The largest u, times n, may round to n.
    return (u * n).long().clamp(max=n - 1)
