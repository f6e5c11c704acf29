"""The parts of a model that can be exported: their inputs, their outputs, and the facts of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from genzoo.contract import Model, generated_columns, has_capability, is_image
from genzoo.errors import SettingError
from genzoo.registry.records import config, init_record

__all__ = ["Part", "call", "describe_part", "name_of", "parts", "random_inputs"]

Part = Literal["decode", "encode", "score", "log_prob", "sample", "translate"]
"""The methods that can be exported; `sample` is `decode` with the latent vectors as its input."""


def parts(model: Model) -> list[Part]:
    """Return the parts of a model that can be exported, the default first.

    Example:
        >>> from genzoo import load
        >>> parts(load("wae-mmd", shape=(2,)))
        ['decode', 'encode', 'sample']
    """
    has = [name for name in get_args(Part) if name != "sample" and has_capability(model, name)]
    if "decode" not in has:
        return sorted(has, key=lambda name: name not in ("log_prob", "translate"))
    return [*has, "sample"] if "encode" in has else ["sample", *has]


def name_of(model: Model) -> str:
    """Return the registered name of a model, or the name of its class."""
    try:
        return init_record(model).name
    except SettingError:
        return type(model).__name__


def random_inputs(model: Model, part: Part, n: int) -> dict[str, Tensor]:
    """Return random inputs of a part by name: the examples or latent vectors, then the labels.

    Raises:
        SettingError: the part reads several columns at once.
    """
    x, given = model.unpack(model.example(n))
    if isinstance(x, Mapping) and part in ("decode", "sample", "translate"):
        x = None  # not an input of these parts
    if isinstance(x, Mapping) or isinstance(given, Mapping):
        raise SettingError(
            f"{name_of(model)!r} reads several columns at once, so {part!r} has no single input "
            "to export."
        )
    conditions = {} if given is None else {model.given[0]: given}
    if part == "translate":
        return conditions or {generated_columns(model)[0]: x}
    if part in ("decode", "sample"):
        latent, dim = getattr(model, "latent_distribution", None), getattr(model, "latent_dim", 0)
        z = torch.randn(n, dim) if latent is None else latent.sample(n)
        return {"z": z, **conditions}
    return {generated_columns(model)[0]: x, **conditions}


def call(model: Model, part: Part, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the result of a part for inputs in the order of `random_inputs`."""
    return getattr(model, "decode" if part == "sample" else part)(*inputs.values())


def describe_part(
    model: Model, part: Part, inputs: Mapping[str, Tensor], output: Tensor
) -> dict[str, Any]:
    """Return the facts about the inputs and the output that a user of the file needs."""

    def field(value: Tensor, limits: list[Any] | None) -> dict[str, Any]:
        dtype = str(value.dtype).removeprefix("torch.")
        return {"shape": ["batch", *value.shape[1:]], "dtype": dtype, "range": limits}

    data = _data_range(model)
    limits: dict[str, Any] = dict.fromkeys(generated_columns(model), data)
    if model.classes:
        limits[model.given[0]] = [0, model.classes - 1]
    elif model.given:
        limits[model.given[0]] = [0, 1] if is_image(getattr(model, "given_shape", ())) else None
    name, produced = _output(model, part, data)
    facts: dict[str, Any] = {
        "inputs": {name: field(value, limits.get(name)) for name, value in inputs.items()},
        "outputs": {name: field(output, produced)},
    }
    if model.is_discrete and getattr(model, "levels", None):
        facts["levels"] = model.levels
    latent = getattr(model, "latent_distribution", None)
    if latent is not None and part in ("decode", "sample"):
        facts["z"] = _latent_facts(latent, is_fitted=latent is not getattr(model, "prior", latent))
    return facts


def _data_range(model: Model) -> list[int] | None:
    """Return the range of the data of a model, or None if they may be any numbers."""
    is_unit = is_image(model.shape) or model.is_discrete or getattr(model, "unit_range", False)
    return [0, 1] if is_unit and not model.is_standardized else None


def _output(model: Model, part: Part, data: list[int] | None) -> tuple[str, list[Any] | None]:
    """Return the name and the range of the output of a part."""
    if part in ("decode", "sample"):
        return generated_columns(model)[0], data
    if part == "log_prob":
        return part, [None, 0] if model.is_discrete else None
    return {"encode": "z", "translate": "translation"}.get(part, part), (
        data if part == "translate" else None
    )


def _latent_facts(latent: nn.Module, *, is_fitted: bool) -> dict[str, Any]:
    """Describe the distribution of latent vectors: its settings, and its tensors if it has any."""
    try:
        settings = config(latent)
    except SettingError:
        settings = {"name": type(latent).__name__}
    tensors = {name: value.tolist() for name, value in latent.state_dict().items()}
    return {"fitted": is_fitted, "distribution": settings, "tensors": tensors}
