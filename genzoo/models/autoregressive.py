"""The base class of autoregressive models, which have an exact likelihood.

Each value of an example has a distribution given the values before it. The likelihood is the
product of these distributions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Batch, Player
from genzoo.distributed import uniform
from genzoo.errors import DataError, SettingError
from genzoo.models.conditioning import Conditional

__all__ = ["Autoregressive", "draw_level", "level_distribution"]

_CHUNK = 256
"""The number of examples that are sampled or scored at once, which bounds memory."""


class Autoregressive(Conditional):
    r"""A distribution over examples with an exact likelihood, one value after the other.

    \[ \log p(x) = \sum_d \log p(x_d \mid x_{<d}) \]

    A subclass implements `distribution(x)` and `draw(u, ...)`. Values are one of `levels` values,
    evenly spaced from 0 to 1, or any real number if `levels` is None.

    Example:
        >>> import genzoo
        >>> model = genzoo.load("nade.digits")
        >>> model.log_prob(model.sample(4)).shape
        torch.Size([4])
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}
    uniforms: ClassVar[tuple[int, ...]] = ()
    """The shape of the uniform numbers that a single value is sampled from."""
    levels: int | None = 2

    @property
    def is_discrete(self) -> bool:
        """True if the likelihood is a probability, and False if it is a density."""
        return self.levels is not None

    def conditionals(self, x: Tensor, given: Any = None) -> Distribution:
        r"""Return the distributions \( p(x_d \mid x_{<d}) \) as one batch of distributions.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: the conditions, such as labels, if the model is conditional.

        Returns:
            A distribution of batch shape `(batch, *shape)`: `Bernoulli` for two levels, and
            `Categorical` over the level numbers 0, 1, ... for more.

        Raises:
            DataError: the examples do not have the model's shape, or their values are not among its
                levels.
        """
        self.check_values(x, given)
        return self.distribution(x, given)

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:
        """Return the same as `conditionals`, without checking the examples."""
        raise NotImplementedError(f"{type(self).__name__} does not implement distribution(x).")

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        """Compute samples from uniform numbers, one value after the other.

        Arguments:
            u: the result of `draw_uniforms`, in single precision or better.
            x: examples, `(n, *shape)`, some of whose values are kept; None to sample all values.
            keep: True for the values to keep, `(n, *shape)`.
            given: the conditions, such as labels, if the model is conditional.

        Returns:
            `(n, *shape)`, in the dtype of the model or of `u`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement draw(u).")

    def draw_uniforms(self, n: int) -> Tensor:
        """Return the uniform numbers for `n` samples, by default `(n, *shape, *uniforms)`.

        Each row belongs to one sample.
        """
        return uniform(n, *self.shape, *self.uniforms, like=self.reference_tensor)

    def log_prob(self, x: Tensor, given: Any = None) -> Tensor:
        r"""Return the exact \( \log p(x) \) in nats, `(batch, *shape)` -> `(batch,)`.

        Raises:
            DataError: as in `conditionals`.
        """
        self.check_values(x, given)
        return self._log_prob(x, given)

    def _log_prob(self, x: Tensor, given: Any) -> Tensor:
        values = self._level_numbers(at_least_single(x))
        return self.distribution(x, given).log_prob(values).flatten(1).sum(1)

    def bits_per_dim(self, x: Tensor, given: Any = None) -> Tensor:
        r"""Return \( -\log_2 p(x) / D \), `(batch,)`, where D is the number of values per example.

        Every color counts as a value. For a density, the result depends on the unit of the data.
        """
        return self.log_prob(x, given) / (-math.prod(self.shape) * math.log(2))

    @torch.no_grad()
    def score_samples(self, x: Tensor, given: Any = None) -> Tensor:
        """Return `log_prob` in chunks, without gradients. Lower scores are more anomalous.

        The name is scikit-learn's name for density models and outlier detectors.
        """
        values = [self.log_prob(*chunk) for chunk in _chunks(x, given)]
        return torch.cat(values or [x.new_zeros(0)])

    def sample(self, n: int, given: Any = None) -> Tensor:
        """Return `n` exact samples, `(n, *shape)`.

        Arguments:
            n: the number of samples.
            given: labels, `(n,)`, if the model is conditional. By default, they are drawn
                uniformly.
        """
        return self._draw_chunks(n, None, None, given)

    def complete(self, x: Tensor, mask: Tensor, given: Any = None) -> Tensor:
        """Sample the missing values of examples, each given the values before it.

        Values are sampled in the model's order, so a kept value affects only the values after it.
        The result is a sample of the conditional distribution if the missing values come last, as
        the lower half of an image does in raster order. `EoNADE` chooses an order in which the kept
        values come first.

        Arguments:
            x: examples, `(batch, *shape)`; missing values may be anything.
            mask: True for the values to keep, `(batch, *shape)` or `shape`.
            given: the conditions, such as labels, if the model is conditional.

        Returns:
            `(batch, *shape)`, equal to `x` where the mask is True.

        Raises:
            SettingError: the mask has another shape, or is not boolean.
            DataError: the model does not accept the kept values.
        """
        self._check_mask(mask, x)
        keep = mask.expand(x.shape)
        x = torch.where(keep, x, 0)
        self.check_values(x, given)
        return self._draw_chunks(x.shape[0], x, keep, given)

    def _draw_chunks(self, n: int, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        """Call `draw` in chunks, which bounds memory."""
        given = self.labels_for(n, given)
        u = self.draw_uniforms(n)
        # inference_mode is a little faster than no_grad for many small operations. Autocast is
        # disabled so that all intermediate results have one precision.
        with torch.inference_mode(), torch.autocast(u.device.type, enabled=False):
            chunks = [self.draw(*chunk) for chunk in _chunks(u, x, keep, given)]
            samples = torch.cat(chunks) if chunks else u.new_zeros(0, *self.shape)
        # The copy is made outside inference_mode, so it is an ordinary tensor.
        return samples.to(self.reference_tensor.dtype, copy=True)

    def _check_mask(self, mask: Any, x: Tensor) -> None:
        if not isinstance(mask, Tensor):
            actual = type(mask).__name__
        elif mask.dtype != torch.bool or mask.shape not in (x.shape, self.shape):
            actual = f"{mask.dtype} of shape {tuple(mask.shape)}"
        else:
            return
        raise SettingError(
            f"mask is {actual}: expected a bool tensor, True where x is kept, of shape "
            f"{tuple(x.shape)} or {self.shape}."
        )

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Compute the mean negative log-likelihood in nats per example.

        If values are discrete, the result also contains `bits_per_dim`, in bits per value.
        """
        x, given = self.unpack(batch)
        nats = -self._log_prob(x, given).mean()
        if not self.is_discrete:
            return {"loss": nats}
        return {"loss": nats, "bits_per_dim": nats / (math.prod(self.shape) * math.log(2))}

    def players(self) -> tuple[Player, ...]:
        return (Player(name="model", owns=(self,), loss=self.loss, optimizer=self.optimizer),)

    def example(self, n: int) -> Batch:
        if self.levels is None:
            return super().example(n)
        like = self.reference_tensor
        levels = torch.randint(self.levels, (n, *self.shape), device=like.device)
        return self.with_random_labels(levels.to(like.dtype) / (self.levels - 1))

    def check_batch(self, batch: Batch) -> None:
        self.check_values(*self.unpack(batch))

    def check_values(self, x: Tensor, given: Any = None) -> None:
        """Check that the model can assign a probability to examples.

        While a compiler traces, values are not checked.

        Raises:
            DataError: another shape or dtype, values that are not among the levels, or conditions
                that do not fit.
        """
        self.check_given(given, x.shape[0])
        name, dtype = type(self).__name__, self.reference_tensor.dtype
        if x.shape[1:] != self.shape:
            raise DataError(
                f"x has shape {tuple(x.shape)}, but {name} takes {('batch', *self.shape)}."
            )
        if x.dtype != dtype:
            raise DataError(f"x is {x.dtype}, but this {name} is {dtype}; give x.to({dtype}).")
        if torch.compiler.is_compiling() or not x.shape[0]:
            return
        if self.levels is None:
            invalid = int((~x.isfinite()).sum())
            if invalid:
                raise DataError(
                    f"x has values that are not finite ({invalid}); clean the data first."
                )
            return
        self._check_levels(x, self.levels)

    def _check_levels(self, x: Tensor, levels: int) -> None:
        scaled = at_least_single(x) * (levels - 1)
        # Rounding to half precision moves a level by this much.
        tolerance = 1e-3 + (levels - 1) * torch.finfo(x.dtype).eps / 4
        invalid = (scaled - scaled.round()).abs().gt(tolerance)
        invalid |= (scaled < -tolerance) | (scaled > levels - 1 + tolerance) | x.isnan()
        if not bool(invalid.any()):
            return
        value, name = x[invalid][0].item(), type(self).__name__
        if levels == 2:
            raise DataError(
                f"x has {value:g}, but {name} takes 0 and 1 only; binarize the data, as with "
                'data.binarize = "threshold" in a recipe or (x > 0.5).float().'
            )
        raise DataError(
            f"x has {value:g}, which is not k / {levels - 1} for a level k of 0 to {levels - 1}; "
            f"build {name} with the levels of the data, or convert the data to {levels} levels."
        )

    def _level_numbers(self, x: Tensor) -> Tensor:
        """Return the numbers of the levels, or the values themselves if there are two levels."""
        if self.levels is None or self.levels == 2:
            return x
        return (x * (self.levels - 1)).round()


def level_distribution(logits: Tensor) -> Distribution:
    """Return the distribution of levels with these logits.

    Arguments:
        logits: `(..., 1)` for zeros and ones, or `(..., levels)`.
    """
    logits = at_least_single(logits)
    if logits.shape[-1] == 1:
        return Bernoulli(logits=logits.squeeze(-1), validate_args=False)
    return Categorical(logits=logits, validate_args=False)


def draw_level(logits: Tensor, u: Tensor) -> Tensor:
    """Sample levels in [0, 1] with the inverse of their cumulative distribution.

    Arguments:
        logits: `(..., 1)` for zeros and ones, or `(..., levels)`.
        u: one uniform number per level to sample, `(...)`.
    """
    logits = logits.to(u.dtype)
    if logits.shape[-1] == 1:
        return torch.lt(u, logits.squeeze(-1).sigmoid(), out=torch.empty_like(u))
    below = logits.softmax(-1).cumsum(-1)[..., :-1] <= u[..., None]
    return below.sum(-1).to(u.dtype) / (logits.shape[-1] - 1)


def _chunks(*columns: Any) -> list[tuple[Any, ...]]:
    """Cut columns into chunks of the same rows; None stays None."""
    chunks = []
    for start in range(0, len(columns[0]), _CHUNK):
        rows = slice(start, start + _CHUNK)
        chunks.append(tuple(None if column is None else column[rows] for column in columns))
    return chunks
