"""A deep NADE of no particular order: one network for all orders, and ensembles of them."""

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
from genzoo.progress import track


class EoNADE(Autoregressive):
    r"""An exact distribution on binary vectors that averages over orders of the dimensions, all of them from one deep network.

    A network sees which dimensions are known, m, and their values, and gives a logit for every dimension. It is trained on masks
    of all sizes, so that it serves every order; the loss is unbiased for the mean negative log-likelihood over all D! orders:

    \[ E_{d \sim U\{0, \dots, D - 1\}} E_{m : |m| = d} \frac{D}{D - d} \sum_{i \notin m} - \log p(x_i \mid x_m)
       = E_o \big[ - \log p(x \mid o) \big] \]

    The distribution itself is the mixture of a fixed few orders, which is exact, as each of its parts is:

    \[ p(x) = \frac1M \sum_{j=1}^M p(x \mid o_j) \]

    `complete` conditions on all that is kept, wherever it stands: it draws the rest after it, in the order of one of the M. For
    one missing number that is the network's own answer; for several, another order would have another distribution.

    Arguments:
        hidden: widths of the hidden layers.
        orderings: M; a likelihood costs M times D passes through all hidden layers but the first.
        order_seed: of the orders.
        shape: the shape of one example, `(C, H, W)` or `(D,)`, whose values are zeros and ones.

    Raises:
        SettingError: there is no hidden layer.

    References:
        A Deep and Tractable Density Estimator, Uria, Murray and Larochelle, 2014, https://arxiv.org/abs/1310.1757

    Example:
        >>> model = EoNADE(hidden=(16,), orderings=2, shape=(1, 4, 4))
        >>> model.log_prob(model.sample(3)).shape
        torch.Size([3])
    """

    orders: Tensor

    def __init__(
        self,
        hidden: tuple[Positive, ...] = (500, 500),
        orderings: Count = 8,
        order_seed: int = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__()
        if not hidden:
            raise SettingError("hidden = (): an EoNADE needs a hidden layer, as in hidden = (500,)")
        self.shape = tuple(shape)
        dims = math.prod(self.shape)
        generator = torch.Generator().manual_seed(order_seed)
        orders = torch.stack([torch.randperm(dims, generator=generator) for _ in range(orderings)])
        self.register_buffer("orders", orders, persistent=False)
        bound = 1 / math.sqrt(2 * dims)
        self.weight = nn.Parameter(
            torch.empty(dims, hidden[0]).uniform_(-bound, bound)
        )  # of the values that are known
        self.flag_weight = nn.Parameter(
            torch.empty(dims, hidden[0]).uniform_(-bound, bound)
        )  # of which they are
        self.bias = nn.Parameter(torch.zeros(hidden[0]))
        self.deep = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise(hidden))
        self.out_weight = nn.Parameter(
            torch.empty(dims, hidden[-1]).uniform_(-1, 1) / math.sqrt(hidden[-1])
        )
        self.out_bias = nn.Parameter(torch.zeros(dims))

    @property
    def orderings(self) -> int:
        """M, the number of orders."""
        return len(self.orders)

    def features(self, a: Tensor) -> Tensor:
        """The last hidden layer from the activations of the first."""
        h = a.relu().to(self.weight.dtype)
        for layer in self.deep:
            h = layer(h).relu()
        return h

    def logits(self, x: Tensor, known: Tensor) -> Tensor:
        """A logit for every dimension, from examples and which of their values are known: both `(batch, D)`, to the same."""
        known = known.to(x.dtype)
        a = torch.addmm(torch.addmm(self.bias, x * known, self.weight), known, self.flag_weight)
        return torch.addmm(self.out_bias, self.features(a), self.out_weight.T)

    def loss(self, batch: Any) -> Mapping[str, Tensor]:
        """The unbiased estimate of the mean over all orders, one mask an example: a bound on the nats and bits of the mixture."""
        x = batch.flatten(1)
        batch_size, dims = x.shape
        size = below(dims, uniform(batch_size, 1, like=x))
        known = (
            uniform(batch_size, dims, like=x).argsort(1).argsort(1) < size
        )  # integers: half precision has not all of them
        logits = at_least_single(self.logits(x, known))
        nats = binary_cross_entropy_with_logits(logits, at_least_single(x), reduction="none")
        loss = ((nats * ~known).sum(1) * dims / (dims - size.squeeze(1))).mean()
        return {"loss": loss, "bits_per_dim_bound": loss / (dims * math.log(2))}

    def _log_prob(self, x: Tensor, given: Any) -> Tensor:  # noqa: ARG002
        bits = at_least_single(x)
        found = [
            self.distribution(x, ordering=j).log_prob(bits).flatten(1).sum(1)
            for j in range(len(self.orders))
        ]
        return torch.stack(found).logsumexp(0) - math.log(len(found))

    def conditionals(self, x: Tensor, given: Any = None, ordering: int = 0) -> Distribution:
        """The distribution of each number given those before it in one of the orders: a `Bernoulli` of batch shape `(batch, *shape)`.

        Their product is the likelihood under that order; `log_prob` averages over all.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: not used.
            ordering: which of the M orders, from 0.

        Raises:
            DataError: the examples are not of the model's shape, or not of zeros and ones.
            SettingError: there is no such order.
        """
        if not 0 <= ordering < len(self.orders):
            raise SettingError(
                f"ordering = {ordering}: this model has orders 0 to {len(self.orders) - 1}"
            )
        self.check_values(x, given)
        return self.distribution(x, given, ordering)

    def distribution(self, x: Tensor, given: Any = None, ordering: int = 0) -> Distribution:  # noqa: ARG002
        flat, order = x.flatten(1), self.orders[ordering]
        logits = []
        a = at_least_single(self.bias).expand(x.shape[0], -1)
        for i in order.tolist():
            logits.append(self.features(a) @ self.out_weight[i] + self.out_bias[i])
            a = a + flat[:, i, None] * self.weight[i] + self.flag_weight[i]
        found = torch.stack(logits, 1).index_select(1, order.argsort()).unflatten(1, self.shape)
        return level_distribution(found[..., None])

    def draw_uniforms(self, n: int) -> Tensor:
        """A number for each dimension, and one more, which chooses the order: `(n, D + 1)`."""
        return uniform(n, self.orders.shape[1] + 1, like=self.reference_tensor)

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:  # noqa: ARG002
        """Each example in an order of its own, drawn anew: one of the model's, or what is kept first and then the rest."""
        n, dims = u.shape[0], self.orders.shape[1]
        chance, choice = u[:, :dims], u[:, dims]
        drawn = torch.zeros_like(chance) if x is None else x.flatten(1).clone()
        orders = self.orders[below(len(self.orders), choice)]
        if keep is not None:
            kept = keep.flatten(1).gather(1, orders)
            orders = orders.gather(
                1, kept.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
            )
        a, rows = at_least_single(self.bias).expand(n, -1).clone(), torch.arange(n, device=u.device)
        for i in track(orders.T, "drawing", total=dims):
            logit = (self.features(a) * self.out_weight[i]).sum(1) + self.out_bias[i]
            value = draw_level(logit[:, None], chance[rows, i])
            if keep is not None:
                value = torch.where(keep.flatten(1)[rows, i], drawn[rows, i], value)
            drawn[rows, i] = value
            a += value[:, None] * self.weight[i] + self.flag_weight[i]
        return drawn.unflatten(1, self.shape)


def below(n: int, u: Tensor) -> Tensor:
    """Whole numbers from 0 to n - 1, equally likely, from uniform ones."""
    return (u * n).long().clamp(max=n - 1)  # which the largest u, times n, may round to
