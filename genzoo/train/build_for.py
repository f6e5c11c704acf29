"""A model that fits its data: built with what they tell, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from genzoo.contract import Dataset, Model, Shape, generated_columns
from genzoo.distributed import exclusive, reseed
from genzoo.errors import DataError, SettingError
from genzoo.registry.build import build
from genzoo.registry.lookup import registry


def build_for(model: Any, dataset: Dataset, seed: int, device: torch.device) -> Model:
    """The model, built under the seed with what its data tell, or the instance itself if it fits the data.

    Raises:
        SettingError: it is no model, an unknown one, one of other shapes than the data's, or one whose weights cannot
            be trained.
        DataError: the data have no shape.
    """
    if not dataset.shape:
        raise DataError(
            f"{dataset.name}: the first column has no axis beside its rows; examples are (D,) or (C, H, W)."
        )
    if not isinstance(model, nn.Module):
        name = model.get("name") if isinstance(model, Mapping) else model
        target = (
            registry("models").get(name) if isinstance(name, str) else None
        )  # what has no name is refused by `build`
        with exclusive():
            reseed(device, seed, "weights")
            model = build(model, defaults=_offers(target, dataset), shape=_shape(target, dataset))
    if not isinstance(model, Model):
        raise SettingError(
            f"{type(model).__name__} is no genzoo.Model; subclass it: a constructor, loss(batch) and sample(n)"
        )
    _check_tensors(model)
    for name, wanted in (
        ("shape", _shape(model, dataset)),
        ("given_shape", _offers(model, dataset).get("given_shape")),
    ):
        own = getattr(model, name, None)
        if own is not None and wanted is not None and tuple(own) != wanted:
            raise SettingError(
                f"{type(model).__name__} has {name} {tuple(own)}, the data have {wanted}; build it with that one"
            )
    return model


def _check_tensors(model: nn.Module) -> None:
    """Refuse weights that cannot be trained.

    Raises:
        SettingError: a lazy module has none yet, or they were made in inference mode.
    """
    for name, module in model.named_modules():
        tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        label = f"{name or 'the model'} ({type(module).__name__})"
        if any(is_lazy(tensor) for tensor in tensors):
            raise SettingError(
                f"{label} is a lazy module and has no weights before its first forward pass, where optimizers need them. "
                "Give it its sizes (as nn.Linear(in_features, out_features)), or call it once in the constructor that "
                "holds it, as in self(torch.zeros(1, *shape))."
            )
        if any(tensor.is_inference() for tensor in tensors):
            raise SettingError(
                f"{label} was made under torch.inference_mode(), so its weights never take gradients. "
                "Make the model outside of inference mode, or pass its name and settings to fit."
            )


def _shape(model: Any, dataset: Dataset) -> Shape:
    """The shape of what a model, or a class or factory of models, is to sample."""
    made = [name for name in generated_columns(model) if name in dataset.train]
    return dataset.shape_of(made[0]) if made else dataset.shape


def _offers(model: Any, dataset: Dataset) -> dict[str, Any]:
    """What the data tell, for a constructor that wants to know."""
    given = [
        dataset.shape_of(name) for name in getattr(model, "given", ()) if name in dataset.train
    ]
    return {**dataset.metadata, **({"given_shape": given[0]} if given else {})}
