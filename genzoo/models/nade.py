"""Neural autoregressive distribution estimators (NADE) for binary and for real vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal

from genzoo.blocks.bounds import bounded
from genzoo.blocks.nade import Units, act, recursion
from genzoo.blocks.precision import at_least_single
from genzoo.contract import Count, Positive, PositiveFloat, Shape, is_image
from genzoo.errors import SettingError
from genzoo.models.autoregressive import Autoregressive, draw_level, level_distribution
from genzoo.models.conditioning import Classes
from genzoo.progress import track

__all__ = ["NADE", "RNADE", "Order", "Recursion", "permutation"]

_LOG_SIGMAS = (-15.0, 10.0)
"""Bounds on the log-sigmas of the components of a mixture."""

Order = Literal["raster", "random"] | tuple[int, ...]
"""An order of the dimensions: a name, or a permutation."""


class Recursion(Autoregressive):
    r"""A distribution whose conditionals share one hidden layer, computed by a recursion.

    Each dimension gets K outputs. A subclass turns them into a distribution.

    Arguments:
        shape: the shape of one example.
        outputs: K.
        hidden: H, the number of hidden units.
        order: as in `NADE`.
        order_seed: as in `NADE`.
        units: as in `NADE`.
        scaled: learn a factor on the pre-activations of each dimension, as RNADE does.
        classes: as in `NADE`.
    """

    order: Tensor
    rank: Tensor

    def __init__(
        self,
        *,
        shape: Shape,
        outputs: int,
        hidden: int,
        order: Order,
        order_seed: int,
        units: Units,
        scaled: bool,
        classes: Classes = 0,
    ) -> None:
        super().__init__()
        self.condition_on(classes)
        self.shape = tuple(shape)
        self.units = units
        dims = math.prod(self.shape)
        order_of_dims = permutation(order, order_seed, dims)
        self.register_buffer("order", order_of_dims, persistent=False)
        self.register_buffer("rank", order_of_dims.argsort(), persistent=False)
        # Small random weights, as in the authors' code. At 0.01, the first likelihood is that of
        # fair coins.
        self.weight = nn.Parameter(torch.randn(dims, hidden) * 0.01)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.out_weight = nn.Parameter(torch.randn(dims, outputs, hidden) * 0.01)
        self.out_bias = nn.Parameter(torch.zeros(dims, outputs))
        self.scale = nn.Parameter(torch.ones(dims)) if scaled else None
        self.label_bias = self.new_label_bias(hidden)

    def outputs(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the outputs of each dimension, which depend on the dimensions before it.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: labels, `(batch,)`, if the model is conditional.

        Returns:
            `(batch, *shape, K)`, in single precision or better.
        """
        ordered = x.flatten(1).index_select(1, self.order)
        # Single precision, because sums run over all dimensions.
        outputs = recursion(
            x=at_least_single(ordered),
            weight=at_least_single(self.weight),
            # not len(x), which torch.export would take as a constant
            bias=at_least_single(self.biased(self.bias, given, x.shape[0])),
            out_weight=at_least_single(self.out_weight),
            out_bias=at_least_single(self.out_bias),
            scale=None if self.scale is None else at_least_single(self.scale),
            units=self.units,
        )
        return outputs.index_select(1, self.rank).unflatten(1, self.shape)

    def choose(self, output: Tensor, u: Tensor) -> Tensor:
        """Sample the values of one dimension.

        Arguments:
            output: the outputs of the dimension, `(n, K)`.
            u: uniform numbers, `(n, *uniforms)`.

        Returns:
            `(n,)`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement choose(output, u).")

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        dims = len(self.order)
        chance = self._by_dimension(u)
        known = None if x is None else self._by_dimension(x).to(u.dtype)
        kept = None if keep is None else self._by_dimension(keep)
        bias = self.biased(self.bias, given, len(u)).to(u.dtype)
        weight, out_weight, out_bias = (
            t.to(u.dtype) for t in (self.weight, self.out_weight, self.out_bias)
        )
        scale = None if self.scale is None else self.scale.to(u.dtype)
        a = bias.expand(len(u), -1).clone()
        h = torch.empty_like(a)
        samples: list[Tensor] = []
        columns = (chance, weight, out_weight.mT, out_bias)
        steps = zip(*(t.unbind() for t in columns), strict=True)
        for d, (u_d, weight_d, out_weight_d, out_bias_d) in enumerate(
            track(steps, "drawing", total=dims)
        ):
            act(a if scale is None else torch.mul(a, scale[d], out=h), self.units, out=h)
            value = self.choose(torch.addmm(out_bias_d, h, out_weight_d), u_d)
            if known is not None and kept is not None:
                value = torch.where(kept[d], known[d], value)
            samples.append(value)
            a.addr_(value, weight_d)
        by_rank = torch.stack(samples).index_select(0, self.rank)
        return by_rank.T.unflatten(1, self.shape).contiguous()

    def _by_dimension(self, t: Tensor) -> Tensor:
        """Return `(n, *shape, ...)` as `(D, n, ...)`, in the model's order."""
        flat = t.flatten(1, len(self.shape)).index_select(1, self.order)
        return flat.transpose(0, 1).contiguous()


class NADE(Recursion):
    r"""An exact distribution on binary vectors, whose hidden units are a running sum.

    The sum runs over the known dimensions:

    \[ p(x) = \prod_d p(x_{o_d} \mid x_{o_{<d}}), \qquad
       p(x_{o_d} = 1 \mid x_{o_{<d}}) = \sigma(V_d h_d + b_d), \qquad
       h_d = \sigma\Big(c + \sum_{k < d} W_k x_{o_k}\Big) \]

    A likelihood and a sample both cost \( O(DH) \) per example. The gradient needs memory for
    \( O(\sqrt D) \) hidden layers instead of D; see `genzoo.blocks.nade`.

    Arguments:
        hidden: H, the number of hidden units.
        order: o, the order of the dimensions: `"raster"` (as stored), `"random"` (determined by
            `order_seed`), or a permutation of 0 to D - 1 that lists the first dimension first.
        order_seed: the seed of a random order.
        units: \( \sigma \) of the hidden units: `"sigmoid"` as in the paper, or `"relu"` as in the
            authors' later code.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels. Each label adds a bias to the hidden units.
        shape: the shape of one example, `(C, H, W)` or `(D,)`, whose values are zeros and ones.

    Raises:
        SettingError: `order` is not a permutation.

    References:
        The Neural Autoregressive Distribution Estimator, Larochelle and Murray, 2011,
            https://proceedings.mlr.press/v15/larochelle11a

    Example:
        >>> nade = NADE(hidden=16, shape=(1, 8, 8))
        >>> x = nade.sample(5)
        >>> nade.log_prob(x).shape, nade.conditionals(x).probs.shape
        (torch.Size([5]), torch.Size([5, 1, 8, 8]))
    """

    # The paper takes stochastic gradient descent, one example at a time. Adam on batches takes
    # minutes instead of hours.
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}

    def __init__(
        self,
        hidden: Positive = 500,
        *,
        order: Order = "raster",
        order_seed: int = 0,
        units: Units = "sigmoid",
        classes: Classes = 0,
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(
            shape=shape,
            outputs=1,
            hidden=hidden,
            order=order,
            order_seed=order_seed,
            units=units,
            scaled=False,
            classes=classes,
        )

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:
        return level_distribution(self.outputs(x, given))

    def choose(self, output: Tensor, u: Tensor) -> Tensor:
        return draw_level(output, u)


class RNADE(Recursion):
    r"""An exact density on vectors: NADE with a mixture of normal distributions per dimension.

    \[ p(x_d \mid x_{<d}) = \sum_k \alpha_{dk}\,
       N\big(x_d; \mu_{dk}, (e^{s_{dk}} + \sigma_{\min})^2\big), \]
    \[ [\log \alpha_d, \mu_d, s_d] = V_d h_d + b_d, \qquad h_d = \max(0, \rho_d a_d), \qquad
       a_d = c + \sum_{k < d} W_k x_k \]

    Dimensions are numbered in the model's order. \( \log \alpha_d \) is known up to a constant, and
    \( \rho_d \) is a learned factor. Dequantize data that repeat values exactly, such as 8-bit
    images: otherwise, their density grows until `sigma_min` limits it.

    Arguments:
        hidden: H, the number of hidden units.
        components: the number of distributions in each mixture.
        sigma_min: added to each standard deviation, in the units of the data.
        order: as in `NADE`.
        order_seed: the seed of a random order.
        units: `"relu"` as in the paper, or `"sigmoid"`.
        classes: condition on labels from 0 to classes - 1, which the data and `sample` then provide
            as `y`; 0 for no labels. Each label adds a bias to the hidden units.
        shape: the shape of one example, `(D,)` or `(C, H, W)`; samples of images are clamped to
            [0, 1].

    Raises:
        SettingError: `order` is not a permutation.

    References:
        RNADE: The Real-valued Neural Autoregressive Density-estimator, Uria, Murray and Larochelle,
            2013, https://arxiv.org/abs/1306.0186

    Example:
        >>> rnade = RNADE(hidden=16, components=3, shape=(4,))
        >>> x = rnade.sample(5)
        >>> x.shape, rnade.log_prob(x).shape
        (torch.Size([5, 4]), torch.Size([5]))
    """

    levels = None
    uniforms: ClassVar[tuple[int, ...]] = (2,)

    def __init__(
        self,
        hidden: Positive = 50,
        *,
        components: Count = 10,
        sigma_min: PositiveFloat = 1e-3,
        order: Order = "raster",
        order_seed: int = 0,
        units: Units = "relu",
        classes: Classes = 0,
        shape: Shape = (2,),
    ) -> None:
        super().__init__(
            shape=shape,
            outputs=3 * components,
            hidden=hidden,
            order=order,
            order_seed=order_seed,
            units=units,
            scaled=True,
            classes=classes,
        )
        self.sigma_min = sigma_min
        low, high = (0.0, 1.0) if is_image(self.shape) else (-1.0, 1.0)
        # The means start at different values; otherwise all components would learn the same.
        means = torch.linspace(low, high, components + 2)[1:-1]
        with torch.no_grad():
            self.out_bias[:, components : 2 * components] = means

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:
        return self.mixture(self.outputs(x, given))

    def mixture(self, output: Tensor) -> MixtureSameFamily:
        """Return the mixture with these outputs, `(..., 3 * components)`.

        Log-sigmas are bounded to [-15, 10], with a gradient that passes the bounds, so that their
        exponential does not overflow on unscaled data. The gradient of the means is not modified;
        the authors' code multiplies it by sigma, which Adam's scaling makes unnecessary.
        """
        weights, means, log_sigmas = at_least_single(output).chunk(3, -1)
        sigmas = bounded(log_sigmas, *_LOG_SIGMAS).exp() + self.sigma_min
        return MixtureSameFamily(
            Categorical(logits=weights, validate_args=False),
            Normal(means, sigmas, validate_args=False),
            validate_args=False,
        )

    def choose(self, output: Tensor, u: Tensor) -> Tensor:
        mixture, eps = self.mixture(output), torch.finfo(u.dtype).eps
        weights = mixture.mixture_distribution.probs
        normal = mixture.component_distribution
        component = (weights.cumsum(1)[:, :-1] <= u[:, :1]).sum(1, keepdim=True)
        mean = normal.mean.gather(1, component).squeeze(1)
        sigma = normal.stddev.gather(1, component).squeeze(1)
        value = mean + sigma * torch.special.ndtri(u[:, 1].clamp(eps, 1 - eps))
        return value.clamp(0, 1) if is_image(self.shape) else value


def permutation(order: Order, seed: int, dims: int) -> Tensor:
    """Return an order of `dims` dimensions.

    Raises:
        SettingError: `order` is not a permutation.
    """
    if order == "raster":
        return torch.arange(dims)
    if order == "random":
        return torch.randperm(dims, generator=torch.Generator().manual_seed(seed))
    numbers = tuple(int(number) for number in order)
    if sorted(numbers) == list(range(dims)):
        return torch.tensor(numbers)
    raise SettingError(
        f'order {_order_problem(numbers, dims)}: expected "raster", "random", or each of 0 to '
        f"{dims - 1} once."
    )


def _order_problem(numbers: tuple[int, ...], dims: int) -> str:
    """Return a description of why some numbers are not a permutation of 0 to dims - 1."""
    for number in numbers:
        if not 0 <= number < dims:
            return f"names dimension {number}"
    for number in numbers:
        if numbers.count(number) > 1:
            return f"names dimension {number} twice"
    return f"names {len(numbers)} dimensions"
