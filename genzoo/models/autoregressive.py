"""What explicit models have in common: each number of an example has a distribution given those before it, and their product is exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution

from genzoo.blocks.precision import at_least_single
from genzoo.contract import Batch, Model, Player
from genzoo.distributed import uniform
from genzoo.errors import DataError, SettingError

_AT_ONCE = 256
"""Examples that are drawn or scored in one pass, which bounds memory."""


class Autoregressive(Model):
    r"""An exact distribution on examples, one number after the other.

    \[ \log p(x) = \sum_d \log p(x_d \mid x_{<d}) \]

    A subclass has `distribution(x)` and `draw(u, ...)`; numbers have `levels` values, evenly spaced from 0 to 1, or any value where that
    is None.
    """

    optimizer: ClassVar[Mapping[str, Any]] = {"name": "Adam", "lr": 1e-3}
    uniforms: ClassVar[tuple[int, ...]] = ()
    """How many uniform numbers a drawn number takes: the shape of them."""
    levels: int | None = 2

    @property
    def is_discrete(self) -> bool:
        """Whether the likelihood is a probability, not a density."""
        return self.levels is not None

    def conditionals(self, x: Tensor, given: Any = None) -> Distribution:
        r"""The distributions \( p(x_d \mid x_{<d}) \), in one distribution of batch shape `(batch, *shape)`.

        Arguments:
            x: examples, `(batch, *shape)`.
            given: what a conditional model needs.

        Returns:
            A `Bernoulli` where there are two levels, a `Categorical` of level numbers 0, 1, ... where there are more.

        Raises:
            DataError: the examples are not of the model's shape, or their values are not among its levels.
        """
        self.check_values(x, given)
        return self.distribution(x, given)

    def distribution(self, x: Tensor, given: Any = None) -> Distribution:
        """As `conditionals`, of examples that are known to be fit."""
        raise NotImplementedError(f"{type(self).__name__} has no distribution(x)")

    def draw(self, u: Tensor, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        """Examples from uniform numbers, one number after the other.

        Arguments:
            u: what `draw_uniforms` drew, in single precision at least.
            x: examples, `(n, *shape)`, of which some numbers are kept; None to draw them all.
            keep: which, `(n, *shape)`, bool.
            given: what a conditional model needs.

        Returns:
            `(n, *shape)`, in the dtype of the model or of `u`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no draw(u)")

    def draw_uniforms(self, n: int) -> Tensor:
        """The uniform numbers from which `n` examples are made, by default `(n, *shape, *uniforms)`; rows are examples."""
        return uniform(n, *self.shape, *self.uniforms, like=self.reference_tensor)

    def log_prob(self, x: Tensor, given: Any = None) -> Tensor:
        r"""\( \log p(x) \), exact, in nats: `(batch, *shape)` -> `(batch,)`.

        Raises:
            DataError: as of `conditionals`.
        """
        self.check_values(x, given)
        return self._log_prob(x, given)

    def _log_prob(self, x: Tensor, given: Any) -> Tensor:
        return (
            self.distribution(x, given)
            .log_prob(self._numbers(at_least_single(x)))
            .flatten(1)
            .sum(1)
        )

    def bits_per_dim(self, x: Tensor, given: Any = None) -> Tensor:
        r"""\( -\log_2 p(x) / D \), where D counts every number of an example, colours included: `(batch,)`.

        Of a density it is what the formula says, and depends on the unit of the data.
        """
        return self.log_prob(x, given) / (-math.prod(self.shape) * math.log(2))

    @torch.no_grad()
    def score_samples(self, x: Tensor, given: Any = None) -> Tensor:
        """As `log_prob`, without gradients and in pieces, so that memory is bounded: the lower, the more abnormal an example.

        The name is scikit-learn's, for densities and for detectors of outliers.
        """
        return torch.cat([self.log_prob(*part) for part in _pieces(x, given)] or [x.new_zeros(0)])

    def sample(self, n: int, given: Any = None) -> Tensor:
        """`n` exact draws, `(n, *shape)`.

        Arguments:
            n: how many.
            given: what a conditional model needs.
        """
        return self._drawn(n, None, None, given)

    def complete(self, x: Tensor, mask: Tensor, given: Any = None) -> Tensor:
        """Draw what is missing of examples, each number given those before it, in the model's order.

        So what is kept tells something only to what comes after it: exact where the missing part comes last, as the lower half of
        an image does in raster order. (`EoNADE` chooses its order so that what is kept comes first.)

        Arguments:
            x: examples, `(batch, *shape)`; what is missing may hold anything.
            mask: True where a number is kept, `(batch, *shape)` or `shape`.
            given: what a conditional model needs.

        Returns:
            `(batch, *shape)`, equal to `x` where the mask is True.

        Raises:
            SettingError: the mask has another shape, or is not of booleans.
            DataError: what is kept is not fit for the model.
        """
        if (
            not isinstance(mask, Tensor)
            or mask.dtype != torch.bool
            or mask.shape not in (x.shape, self.shape)
        ):
            found = (
                f"{mask.dtype} of shape {tuple(mask.shape)}"
                if isinstance(mask, Tensor)
                else type(mask).__name__
            )
            raise SettingError(
                f"mask is {found}: expected a bool tensor, True where x is kept, of shape {tuple(x.shape)} or {self.shape}"
            )
        keep = mask.expand(x.shape)
        x = torch.where(keep, x, 0)
        self.check_values(x, given)
        return self._drawn(x.shape[0], x, keep, given)

    def _drawn(self, n: int, x: Tensor | None, keep: Tensor | None, given: Any) -> Tensor:
        """`draw` in pieces that bound memory."""
        self.check_given(given, n)
        u = self.draw_uniforms(n)
        # a little faster than no_grad, where there are many small operations; what is kept between them has one precision
        with torch.inference_mode(), torch.autocast(u.device.type, enabled=False):
            found = [self.draw(*part) for part in _pieces(u, x, keep, given)]
            drawn = torch.cat(found) if found else u.new_zeros(0, *self.shape)
        return drawn.to(
            self.reference_tensor.dtype, copy=True
        )  # outside of it: an ordinary tensor again

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The mean negative log-likelihood, in nats an example; where values are discrete, also in bits a number."""
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
        return torch.randint(self.levels, (n, *self.shape), device=self.reference_tensor.device).to(
            self.reference_tensor.dtype
        ) / (self.levels - 1)

    def check_given(self, given: Any, n: int) -> None:  # noqa: ARG002
        """Refuse what a model of `n` examples cannot be given.

        Raises:
            DataError: something is given, and the model is not conditional.
        """
        if given is not None:
            raise DataError(
                f"this {type(self).__name__} takes nothing beside x, and is given a {type(given).__name__}; leave it out"
            )

    def check_batch(self, batch: Batch) -> None:
        self.check_values(*self.unpack(batch))

    def check_values(self, x: Tensor, given: Any = None) -> None:
        """Refuse examples that the model gives no probability; not while a compiler traces, which cannot look at values.

        Raises:
            DataError: another shape or dtype, values that are not among the levels, or something given to what takes nothing.
        """
        self.check_given(given, x.shape[0])
        if x.shape[1:] != self.shape:
            raise DataError(
                f"x has shape {tuple(x.shape)}, where {type(self).__name__} takes {('batch', *self.shape)}"
            )
        if x.dtype != self.reference_tensor.dtype:
            raise DataError(
                f"x is {x.dtype}, but this {type(self).__name__} is {self.reference_tensor.dtype}; give x.to({self.reference_tensor.dtype})"
            )
        if torch.compiler.is_compiling() or not x.shape[0]:
            return
        if self.levels is None:
            if not bool(x.isfinite().all()):
                raise DataError(
                    f"x has a value that is not finite ({int((~x.isfinite()).sum())} such); clean the data first"
                )
            return
        scaled = at_least_single(x) * (self.levels - 1)
        off = (
            1e-3 + (self.levels - 1) * torch.finfo(x.dtype).eps / 4
        )  # which rounding to half precision moves a level
        bad = (
            (scaled - scaled.round()).abs().gt(off)
            | (scaled < -off)
            | (scaled > self.levels - 1 + off)
            | x.isnan()
        )
        if bool(bad.any()):
            value = x[bad][0].item()
            if self.levels == 2:
                raise DataError(
                    f"x has {value:g}, where {type(self).__name__} takes 0 and 1 only; binarize the data, "
                    f'as with data.binarize = "threshold" in a recipe or (x > 0.5).float()'
                )
            raise DataError(
                f"x has {value:g}, which is not k / {self.levels - 1} for a level k of 0 to {self.levels - 1}; give "
                f"{type(self).__name__} the levels that the data have, or bring the data to its {self.levels} levels"
            )

    def _numbers(self, x: Tensor) -> Tensor:
        """Values as their distribution knows them: the numbers of levels, unless there are but 0 and 1."""
        return x if self.levels in (None, 2) else (x * (self.levels - 1)).round()


def level_distribution(logits: Tensor) -> Distribution:
    """The distribution of levels: from a logit each `(..., 1)` that of zeros and ones, from several that of their numbers."""
    logits = at_least_single(logits)
    if logits.shape[-1] == 1:
        return Bernoulli(logits=logits.squeeze(-1), validate_args=False)
    return Categorical(logits=logits, validate_args=False)


def draw_level(logits: Tensor, u: Tensor) -> Tensor:
    """Levels in [0, 1] by the inverse of their distribution, from logits `(..., 1)` or `(..., levels)` and a uniform number each."""
    logits = logits.to(u.dtype)
    if logits.shape[-1] == 1:
        return torch.lt(u, logits.squeeze(-1).sigmoid(), out=torch.empty_like(u))
    below = logits.softmax(-1).cumsum(-1)[..., :-1] <= u[..., None]
    return below.sum(-1).to(u.dtype) / (logits.shape[-1] - 1)


def _pieces(*columns: Any) -> list[tuple[Any, ...]]:
    """Columns cut into pieces of the same rows; what is None stays None."""
    n = len(columns[0])
    cuts = [slice(start, start + _AT_ONCE) for start in range(0, n, _AT_ONCE)]
    return [tuple(column if column is None else column[cut] for column in columns) for cut in cuts]
