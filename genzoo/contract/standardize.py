"""Standardization of tables: a model computes with columns of mean 0 and standard deviation 1.

Everything outside the model is in the units of the data. The model keeps the mean and the standard
deviation as buffers, so checkpoints, run folders, and exports have them. The methods that `Model`
knows by name convert their arguments and results, in the outermost call only.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
)

from genzoo.distributed.ranks import at, current

if TYPE_CHECKING:
    from genzoo.contract.model import Model

__all__ = ["MEAN", "SCALE", "convert_methods", "standardize"]

MEAN, SCALE = "data_mean", "data_scale"
"""The buffers of a standardized model."""


def standardize(
    model: Model, mean: Tensor, scale: Tensor, dtype: torch.dtype | None = None
) -> None:
    r"""Let a model compute with \( (x - m) / s \), while its methods keep the units of \( x \).

    Log-densities become those of \( x \): \( \log p(x) = \log p(z) - \sum_i \log s_i \).

    Arguments:
        model: the model; one that is standardized already gets other values.
        mean: \( m \), of the shape of one example.
        scale: \( s \), positive numbers of the same shape.
        dtype: the dtype in which the model keeps them; by default, that of its weights.
    """
    like = model.reference_tensor
    for name, values in ((MEAN, mean), (SCALE, scale)):
        model.register_buffer(name, values.to(like.device, dtype or like.dtype))
    model.is_standardized = True


def convert_methods(cls: type) -> None:
    """Wrap the methods that a class of models defines, so that they convert units."""
    for name, (examples, convert_result) in _METHODS.items():
        method = vars(cls).get(name)
        if inspect.isfunction(method):
            names = [*inspect.signature(method).parameters]
            if examples == _FIRST and len(names) > 1:
                examples = names[1]
            setattr(cls, name, _converted(method, names, examples, convert_result))


def _converted(
    method: Callable[..., Any], names: list[str], examples: str, convert_result: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a method that converts the argument `examples`, and its result."""
    index = names.index(examples) - 1 if examples in names else -1

    @functools.wraps(method)
    def converted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.is_standardized or current().standardized:
            return method(self, *args, **kwargs)
        if 0 <= index < len(args):
            args = (*args[:index], _to_model(self, args[index]), *args[index + 1 :])
        elif examples in kwargs:
            kwargs = {**kwargs, examples: _to_model(self, kwargs[examples])}
        with at(standardized=True):
            result = method(self, *args, **kwargs)
        return convert_result(self, result)

    return converted


def _to_model(model: Model, x: Any) -> Any:
    """Convert examples, a batch, or batches to the units of the model."""
    if isinstance(x, Tensor):
        return (x - model.data_mean) / model.data_scale
    if isinstance(x, Mapping):
        column = _column(model)
        return {**x, column: _to_model(model, x[column])} if column in x else x
    if isinstance(x, Iterable):
        return (_to_model(model, batch) for batch in x)
    return x


def _column(model: Model) -> str:
    """Return the column that a model generates."""
    return next(name for name in model.inputs if name not in model.given)


def _to_data(model: Model, result: Any) -> Any:
    return result * model.data_scale + model.data_mean


def _log_density(model: Model, result: Tensor) -> Tensor:
    return result - model.data_scale.log().sum().to(result.dtype)


def _bits_per_dim(model: Model, result: Tensor) -> Tensor:
    return result + (model.data_scale.log().mean() / math.log(2)).to(result.dtype)


def _of_examples(model: Model, result: Distribution) -> Distribution:
    """Convert distributions whose events are examples."""
    return _scaled(model, result, event_dim=len(model.shape))


def _of_values(model: Model, result: Distribution) -> Distribution:
    """Convert distributions of single values."""
    return _scaled(model, result, event_dim=0)


def _scaled(model: Model, result: Distribution, event_dim: int) -> Distribution:
    mean, scale = model.data_mean, model.data_scale
    if isinstance(result, Independent) and isinstance(result.base_dist, Normal):
        normal = _affine(result.base_dist, mean, scale)
        return Independent(normal, result.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(result, MixtureSameFamily) and isinstance(result.component_distribution, Normal):
        normal = _affine(result.component_distribution, mean[..., None], scale[..., None])
        return MixtureSameFamily(result.mixture_distribution, normal, validate_args=False)
    transform = AffineTransform(mean, scale, event_dim=event_dim)
    return TransformedDistribution(result, transform, validate_args=False)


def _affine(normal: Normal, mean: Tensor, scale: Tensor) -> Normal:
    return Normal(normal.loc * scale + mean, normal.scale * scale, validate_args=False)


def _players(model: Model, players: Any) -> Any:
    return tuple(
        replace(player, loss=functools.partial(_loss, model, player.loss)) for player in players
    )


def _loss(model: Model, loss: Callable[[Any], Any], batch: Any) -> Any:
    batch = _to_model(model, batch)
    with at(standardized=True):
        return loss(batch)


def _unchanged(_: Any, result: Any) -> Any:
    return result


_FIRST, _NONE = "the first argument", "no argument"
_METHODS: Mapping[str, tuple[str, Callable[..., Any]]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("encode", "posterior", "score", "fit_sampler", "loss", "check_batch"),
            (_FIRST, _unchanged),
        ),
        "after_training": (_FIRST, _unchanged),
        "players": (_NONE, _players),
        "sample": (_NONE, _to_data),
        "decode": (_NONE, _to_data),
        "reconstruct": (_FIRST, _to_data),
        "complete": (_FIRST, _to_data),
        **dict.fromkeys(
            ("log_prob", "elbo", "log_prob_bound", "score_samples"), (_FIRST, _log_density)
        ),
        "bits_per_dim": (_FIRST, _bits_per_dim),
        "conditional": ("fit", _of_examples),
        "conditionals": (_FIRST, _of_values),
    }
)
"""Method -> the argument that holds examples, and the conversion of its result."""
