"""The base classes of the parts of a model, such as encoders, priors, and divergences."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator
from torch import Tensor, nn

from genzoo import distributed
from genzoo.contract.dataset import Shape
from genzoo.contract.inputs import check_methods
from genzoo.errors import SettingError
from genzoo.registry.records import Recorded, config, settings_of

__all__ = [
    "Configurable",
    "Count",
    "Critic",
    "Decoder",
    "DistributionDivergence",
    "Divergence",
    "Encoder",
    "LocalPath",
    "NonNegativeFloat",
    "Part",
    "Penalty",
    "Positive",
    "PositiveFloat",
    "Prior",
    "SampleDivergence",
    "Translator",
]

Part = nn.Module | str | Mapping[str, Any]
"""A slot: an instance, a registered name, or a table with a name and settings."""

Positive = Annotated[int, Gt(0)]
"""A positive integer."""

PositiveFloat = Annotated[float, Gt(0)]
"""A positive number."""

NonNegativeFloat = Annotated[float, Ge(0)]
"""A number of at least 0."""


def absolute_path(value: Any) -> Any:
    """Return a path as text: absolute, or beginning with ~. Other values are returned unchanged."""
    # a folder named 2024 on the command line
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value or value.startswith("~"):
        return value
    return os.path.abspath(value)  # noqa: PTH100 - pathlib would keep ".."


LocalPath = Annotated[str, BeforeValidator(absolute_path)]
"""The path of a file or folder.

A relative path is stored as an absolute one, so that a run can be used from every folder.
"""

Count = Annotated[int, Gt(0), Le(10_000)]
"""A small positive integer, such as a number of layers, or of training steps per round."""


class Configurable(Recorded, nn.Module):
    """A module that records its constructor's arguments, so that it can be built again.

    The arguments are not stored in its attributes, but in `config`, the table for `genzoo.build`.
    Subclasses get this without any code. A direct call checks the arguments like `build`: lists
    become tuples, and a table without a name, such as `{"hidden": (8,)}`, changes the settings of
    the slot's default.

    Example:
        >>> import genzoo
        >>> genzoo.build("normal", "priors", dim=2).config
        {'name': 'normal', 'dim': 2, 'scale': 1.0}
    """

    @property
    def config(self) -> dict[str, Any]:
        """The table that builds this object again, with all defaults.

        Raises:
            SettingError: the class, or the class of one of its parts, is not registered.
        """
        return config(self)

    def extra_repr(self) -> str:
        plain = {
            key: value
            for key, value in settings_of(self).items()
            if not isinstance(getattr(self, key, None), nn.Module)
        }
        return ", ".join(f"{key}={value!r}" for key, value in plain.items())


class Encoder(Configurable):
    """A network from data to features.

    `Encoder(shape, dim)` maps `(batch, *shape)` to unconstrained numbers, `(batch, dim)`.

    Example:
        >>> import genzoo
        >>> encoder = genzoo.build("mlp", "encoders", shape=(1, 8, 8), dim=3)
        >>> encoder(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 3])
    """

    kind_of_part: ClassVar[str] = "encoders"
    __call__: Callable[..., Tensor]
    shape: Shape
    dim: int


class Decoder(Configurable):
    """A network from latent codes to data, such as a generator.

    `Decoder(dim, shape)` maps `(batch, dim)` to unconstrained numbers, `(batch, *shape)`. The model
    applies the function that its likelihood needs, such as a sigmoid for images.

    Example:
        >>> import genzoo
        >>> decoder = genzoo.build("mlp", "decoders", dim=3, shape=(1, 8, 8))
        >>> decoder(torch.rand(5, 3)).shape
        torch.Size([5, 1, 8, 8])
    """

    kind_of_part: ClassVar[str] = "decoders"
    __call__: Callable[..., Tensor]
    dim: int
    shape: Shape


class Critic(Configurable):
    """A network from data to scores, such as the logit of a discriminator.

    `Critic(shape)` maps `(batch, *shape)` to unconstrained numbers, `(batch,)`.

    Example:
        >>> import genzoo
        >>> critic = genzoo.build("mlp", "critics", shape=(1, 8, 8))
        >>> critic(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    kind_of_part: ClassVar[str] = "critics"
    __call__: Callable[..., Tensor]
    shape: Shape


class Translator(Configurable):
    """A network from data of one domain to data of another.

    `Translator(given_shape, shape)` maps `(batch, *given_shape)` to unconstrained numbers,
    `(batch, *shape)`. The model applies the function that its data need, such as a sigmoid or tanh
    for images.
    """

    kind_of_part: ClassVar[str] = "translators"
    __call__: Callable[..., Tensor]
    given_shape: Shape
    shape: Shape


class Prior(Configurable):
    """A distribution of latent vectors, `Prior(dim)`.

    It defines `sample` and, if it has a density, `log_prob`.

    Example:
        >>> import genzoo
        >>> prior = genzoo.build("normal", "priors", dim=2)
        >>> prior.sample(5).shape, prior.log_prob(torch.zeros(5, 2)).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    kind_of_part: ClassVar[str] = "priors"
    dim: int
    spherical: ClassVar[bool] = False
    """True if the distribution is the same in every direction from the origin.

    Paths between latent codes are then spherical (see `genzoo.models.slerp`).
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_methods(
            cls,
            {"sample": "n", "truncated": "n", "strata": "n", "log_prob": "dim", "component": "dim"},
        )

    def sample(self, n: int) -> Tensor:
        """Draw samples, `(n, dim)`.

        If possible, they are differentiable in the parameters of a learned prior.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define sample(n)")

    def truncated(self, n: int, threshold: float) -> Tensor:  # noqa: ARG002
        """Draw samples, `(n, dim)`, near the mean of the prior, or of a component.

        Each coordinate is within `threshold` standard deviations of this mean.
        """
        raise SettingError(
            f"{type(self).__name__} cannot be truncated; take a prior that can, such as "
            '"normal" or "mog".'
        )

    def log_prob(self, z: Tensor) -> Tensor:  # noqa: ARG002
        """Return the log-density in nats, `(batch, dim)` -> `(batch,)`."""
        raise SettingError(
            f"{type(self).__name__} has no density; take a prior that has one, such as "
            '"normal" or "mog".'
        )

    @property
    def variance(self) -> Tensor:
        """The variance of each coordinate, `(dim,)`."""
        raise SettingError(
            f"{type(self).__name__} does not define `variance`; add this property, of shape (dim,)."
        )

    def strata(self, n: int) -> tuple[Tensor, Tensor]:
        r"""Draw a stratified sample, to estimate expectations.

        \[ E f(z) \approx \sum_k w_k \frac1m \sum_i f(z_{ki}) \]

        A mixture has one stratum per component, so its weights get a gradient. Any other prior has
        one stratum of weight 1.

        Returns:
            The samples `(K, m, dim)` with K * m >= n, and the weights of the strata `(K,)`.
        """
        z = self.sample(n)
        return z[None], z.new_ones(1)


class Divergence(Configurable):
    """A measure of how much two distributions differ.

    Subclass `SampleDivergence` or `DistributionDivergence`, which state what is compared.
    """

    kind_of_part: ClassVar[str] = "divergences"
    __call__: Callable[..., Tensor]


class SampleDivergence(Divergence):
    """A divergence between samples: `forward(x, y)` returns a scalar.

    `x` is a sample, `(n, dim)`. `y` is another sample, `(m, dim)`, or a `Prior`. A divergence for
    one model only may accept nothing but priors.

    Example:
        >>> class Means(SampleDivergence):
        ...     def forward(self, x, y):
        ...         y = y if isinstance(y, Tensor) else y.sample(1000)
        ...         return (x.mean(0) - y.mean(0)).square().sum()
        >>> Means()(torch.ones(4, 2), torch.zeros(3, 2))
        tensor(2.)
    """

    def within_classes(self, x: Tensor, y: Prior, labels: Tensor) -> Tensor:
        r"""Return the mean divergence of the samples of each class.

        \[ \sum_k \frac{n_k}{n} D(\{x_i : y_i = k\}, p) \]

        Classes with a single example are left out. A subclass may override this with a method that
        does not wait for the device.

        Arguments:
            x: a sample, `(n, dim)`. The samples of all ranks are gathered.
            y: a prior.
            labels: the class of each row, integers `(n,)`.
        """
        x, labels = distributed.gather(x), distributed.gather(labels)
        total = 0 * x.sum()
        with distributed.replicated():
            for label in labels.unique():
                rows = labels == label
                if rows.sum() > 1:
                    total = total + rows.to(x).mean() * self(x[rows], y)
        return total


class DistributionDivergence(Divergence):
    """A divergence between distributions with densities: `forward(q, prior, z)` returns `(batch,)`.

    `q` is a batch of distributions on vectors `(dim,)`. `z` holds one sample from each of them,
    `(batch, dim)`, which the caller has drawn already; its default is None.

    Example:
        >>> import genzoo
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.ones(3, 2), torch.ones(3, 2)), 1)
        >>> genzoo.build("kl", "divergences")(q, genzoo.build("normal", "priors", dim=2))
        tensor([1., 1., 1.])
    """


class Penalty(Configurable):
    """A penalty on a critic that is not smooth: `forward(critic, real, fake)` returns a scalar.

    `critic` maps `(batch, *shape)` to `(batch,)`. It must score each example independently of the
    others, so batch norm in training mode is not allowed. Penalties are registered as divergences.

    Example:
        >>> from genzoo.divergences import gradient_norms
        >>> class Flat(Penalty):
        ...     def forward(self, critic, real, fake):
        ...         return gradient_norms(critic, real).mean()
        >>> Flat()(lambda x: x.sum(1), torch.zeros(4, 9), torch.ones(4, 9)).item()
        3.0
    """

    every: int = 1
    """The penalty is part of each `every`-th step of the critic, multiplied by `every`."""
    kind_of_part: ClassVar[str] = "divergences"
    __call__: Callable[..., Tensor]
