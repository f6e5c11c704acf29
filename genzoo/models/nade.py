"""Neural autoregressive distribution estimators: one order of the dimensions, and every dimension a step of one recursion."""

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
from genzoo.progress import track

_LOG_SIGMAS = (-15.0, 10.0)
"""Bounds on the log-sigmas of a mixture's components."""

Order = Literal["raster", "random"] | tuple[int, ...]


class Recursion(Autoregressive):
    r"""A distribution whose conditionals share one hidden layer; a subclass says what is made of the K numbers that each dimension gets.

    Arguments:
        shape: the shape of one example.
        outputs: K.
        hidden: H.
        order: as of `NADE`.
        order_seed: as of `NADE`.
        units: as of `NADE`.
        scaled: learn a factor on the activations of each dimension, as RNADE does.
    """

    order: Tensor
    rank: Tensor

    def __init__(
        self,
        shape: Shape,
        outputs: int,
        hidden: int,
        order: Order,
        order_seed: int,
        units: Units,
        scaled: bool,
    ) -> None:
        super().__init__()
        self.shape, self.units = tuple(shape), units
        dims = math.prod(self.shape)
        chosen = permutation(order, order_seed, dims)
        self.register_buffer("order", chosen, persistent=False)
        self.register_buffer("rank", chosen.argsort(), persistent=False)
        # small random weights, as in the authors' code: at 0.01 the first likelihood is that of fair coins
        self.weight = nn.Parameter(torch.randn(dims, hidden) * 0.01)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.out_weight = nn.Parameter(torch.randn(dims, outputs, hidden) * 0.01)
        self.out_bias = nn.Parameter(torch.zeros(dims, outputs))
        self.scale = nn.Parameter(torch.ones(dims)) if scaled else None

    def outputs(self, x: Tensor) -> Tensor:
        """What each dimension gets from those before it: `(batch, *shape)` -> `(batch, *shape, K)`, in single precision."""
        ordered = x.flatten(1).index_select(1, self.order)
        parameters = (self.weight, self.bias, self.out_weight, self.out_bias)
        weight, bias, out_weight, out_bias = (
            at_least_single(p) for p in parameters
        )  # sums run over all dimensions
        scale = None if self.scale is None else at_least_single(self.scale)
        found = recursion(
            at_least_single(ordered), weight, bias, out_weight, out_bias, scale, self.units
        )
        return found.index_select(1, self.rank).unflatten(1, self.shape)

    def choose(self, output: Tensor, u: Tensor) -> Tensor:
        """Numbers from what their dimension gets, `(n, K)`, and uniform ones, `(n, *uniforms)`."""
        raise NotImplementedError(f"{type(self).__name__} has no choose(output, u)")

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:  # noqa: ARG002
        n, dims = len(u), len(self.order)
        chance, known, kept = (
            None
            if t is None
            else t.flatten(1, len(self.shape))
            .index_select(1, self.order)
            .transpose(0, 1)
            .contiguous()
            for t in (u, x, keep)
        )
        assert chance is not None
        drawn: list[Tensor] = []
        known = None if known is None else known.to(u.dtype)
        weight, out_weight, a, out_bias = (
            t.to(u.dtype) for t in (self.weight, self.out_weight, self.bias, self.out_bias)
        )
        scale = None if self.scale is None else self.scale.to(u.dtype)
        a = a.expand(n, -1).clone()
        h = torch.empty_like(a)
        columns = (chance, weight, out_weight.mT, out_bias)
        steps = zip(*(t.unbind() for t in columns), strict=True)
        for d, (u_d, weight_d, out_weight_d, out_bias_d) in enumerate(
            track(steps, "drawing", total=dims)
        ):
            act(a if scale is None else torch.mul(a, scale[d], out=h), self.units, out=h)
            value = self.choose(torch.addmm(out_bias_d, h, out_weight_d), u_d)
            drawn.append(
                value if known is None or kept is None else torch.where(kept[d], known[d], value)
            )
            a.addr_(drawn[-1], weight_d)
        return torch.stack(drawn).index_select(0, self.rank).T.unflatten(1, self.shape).contiguous()


class NADE(Recursion):
    r"""An exact distribution on binary vectors: hidden units are a running sum over the dimensions that are known.

    \[ p(x) = \prod_d p(x_{o_d} \mid x_{o_{<d}}), \qquad p(x_{o_d} = 1 \mid x_{o_{<d}}) = \sigma(V_d h_d + b_d), \qquad
       h_d = \sigma\Big(c + \sum_{k < d} W_k x_{o_k}\Big) \]

    Both a likelihood and a sample cost \( O(DH) \) an example. The gradient needs memory for \( O(\sqrt D) \) hidden layers
    instead of D: see `genzoo.blocks.nade`.

    Arguments:
        hidden: H, the number of hidden units.
        order: o, the order of the dimensions: `"raster"` as they are stored, `"random"` by `order_seed`, or a permutation of
            0 to D - 1, the dimension that comes first standing first.
        order_seed: of a random order.
        units: \( \sigma \) of the hidden units: `"sigmoid"` as in the paper, or `"relu"` as in the authors' later code.
        shape: the shape of one example, `(C, H, W)` or `(D,)`, whose values are zeros and ones.

    Raises:
        SettingError: the order is no permutation.

    References:
        The Neural Autoregressive Distribution Estimator, Larochelle and Murray, 2011,
        https://proceedings.mlr.press/v15/larochelle11a

    Example:
        >>> nade = NADE(hidden=16, shape=(1, 8, 8))
        >>> x = nade.sample(5)
        >>> nade.log_prob(x).shape, nade.conditionals(x).probs.shape
        (torch.Size([5]), torch.Size([5, 1, 8, 8]))
    """

    # the paper: stochastic gradient descent, one example at a time; Adam on batches takes minutes instead of hours
    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}

    def __init__(
        self,
        hidden: Positive = 500,
        order: Order = "raster",
        order_seed: int = 0,
        units: Units = "sigmoid",
        shape: Shape = (1, 28, 28),
    ) -> None:
        super().__init__(shape, 1, hidden, order, order_seed, units, scaled=False)

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:  # noqa: ARG002
        return level_distribution(self.outputs(x))

    def choose(self, output: Tensor, u: Tensor) -> Tensor:
        return draw_level(output, u)


class RNADE(Recursion):
    r"""An exact density on vectors: NADE with a mixture of normal distributions for each dimension.

    \[ p(x_d \mid x_{<d}) = \sum_k \alpha_{dk}\, N\big(x_d; \mu_{dk}, (e^{s_{dk}} + \sigma_{\min})^2\big), \qquad
       [\log \alpha_d, \mu_d, s_d] = V_d h_d + b_d, \qquad h_d = \max(0, \rho_d a_d), \qquad a_d = c + \sum_{k < d} W_k x_k \]

    Dimensions are numbered in the model's order; \( \log \alpha_d \) is up to a constant, and \( \rho_d \) a learned factor.
    Densities of data that repeat values exactly, such as 8-bit images as they are, grow without bound: `sigma_min` is then all
    that holds them. Dequantise such data.

    Arguments:
        hidden: H, the number of hidden units.
        components: distributions in each mixture.
        sigma_min: added to each standard deviation, in the units of the data.
        order: as of `NADE`.
        order_seed: of a random order.
        units: `"relu"` as in the paper, or `"sigmoid"`.
        shape: the shape of one example, `(D,)` or `(C, H, W)`; samples of images are clamped to [0, 1].

    Raises:
        SettingError: the order is no permutation.

    References:
        RNADE: The Real-valued Neural Autoregressive Density-estimator, Uria, Murray and Larochelle, 2013,
        https://arxiv.org/abs/1306.0186

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
        components: Count = 10,
        sigma_min: PositiveFloat = 1e-3,
        order: Order = "raster",
        order_seed: int = 0,
        units: Units = "relu",
        shape: Shape = (2,),
    ) -> None:
        super().__init__(shape, 3 * components, hidden, order, order_seed, units, scaled=True)
        self.sigma_min = sigma_min
        low, high = (0.0, 1.0) if is_image(self.shape) else (-1.0, 1.0)
        with torch.no_grad():  # the means start apart, or all components would learn the same
            self.out_bias[:, components : 2 * components] = torch.linspace(
                low, high, components + 2
            )[1:-1]

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:  # noqa: ARG002
        return self.mixture(self.outputs(x))

    def mixture(self, output: Tensor) -> MixtureSameFamily:
        """The distribution of what a dimension gets, `(..., 3 * components)`.

        Log-sigmas are bounded to [-15, 10], with a gradient that passes the bounds, so that their exponential
        does not overflow on unscaled data. The means have plain gradients; the authors' code multiplies them by
        sigma, which Adam's own scaling makes unnecessary.
        """
        weights, means, sigmas = at_least_single(output).chunk(3, -1)
        parts = Normal(
            means, bounded(sigmas, *_LOG_SIGMAS).exp() + self.sigma_min, validate_args=False
        )
        return MixtureSameFamily(
            Categorical(logits=weights, validate_args=False), parts, validate_args=False
        )

    def choose(self, output: Tensor, u: Tensor) -> Tensor:
        distribution, tiny = self.mixture(output), torch.finfo(u.dtype).eps
        weights, parts = (
            distribution.mixture_distribution.probs,
            distribution.component_distribution,
        )
        which = (weights.cumsum(1)[:, :-1] <= u[:, :1]).sum(1, keepdim=True)
        mean, sigma = (each.gather(1, which).squeeze(1) for each in (parts.mean, parts.stddev))
        value = mean + sigma * torch.special.ndtri(u[:, 1].clamp(tiny, 1 - tiny))
        return value.clamp(0, 1) if is_image(self.shape) else value


def permutation(order: Order, seed: int, dims: int) -> Tensor:
    """An order of `dims` dimensions.

    Raises:
        SettingError: it is not one.
    """
    if order == "raster":
        return torch.arange(dims)
    if order == "random":
        return torch.randperm(dims, generator=torch.Generator().manual_seed(seed))
    given = tuple(int(each) for each in order)
    if sorted(given) == list(range(dims)):
        return torch.tensor(given)
    twice = next((each for each in given if given.count(each) > 1), None)
    outside = next((each for each in given if not 0 <= each < dims), None)
    if outside is not None:
        what = f"names dimension {outside}"
    elif twice is not None:
        what = f"names dimension {twice} twice"
    else:
        what = f"names {len(given)} dimensions"
    raise SettingError(
        f'order {what}: expected "raster", "random", or each of 0 to {dims - 1} once'
    )
