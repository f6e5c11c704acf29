"""Explain where a misplaced setting belongs, or which setting has another name in genzoo."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from genzoo.contract import Model
from genzoo.errors import GenzooError, UnknownSettingError
from genzoo.registry.build import build
from genzoo.registry.kinds import KINDS, SINGULAR
from genzoo.registry.lookup import registry
from genzoo.registry.records import init_record
from genzoo.registry.signatures import parameters
from genzoo.train.optimizers import OPTIMIZERS
from genzoo.train.settings import Settings

__all__ = ["NAMES", "explained"]

NAMES: Mapping[str, str] = {
    "learning_rate": "lr", "optimizer": "name", "wd": "weight_decay",
    "batchsize": "batch_size", "bs": "batch_size", "n_epochs": "epochs", "num_epochs": "epochs",
    "max_epochs": "epochs", "epoch": "epochs", "max_steps": "steps", "num_steps": "steps",
    "iterations": "steps", "random_state": "seed", "gpus": "device", "accelerator": "device",
    "gradient_clip_val": "clip_grad_norm", "accumulate_grad_batches": "microbatches",
    "scheduler": "schedule",
    "z_dim": "latent_dim", "latent_size": "latent_dim", "nz": "latent_dim",
    "hidden_size": "hidden", "hidden_dims": "hidden", "n_components": "components",
}  # fmt: skip
"""The names of settings in other libraries, and those of the same settings in genzoo."""

Path = tuple[str, ...]
_NETWORK = "mlp"
"""The network to name in a slot whose default depends on the data."""


@contextmanager
def explained(model: Any = None, data: Any = None, call: str = "fit") -> Iterator[None]:
    """Extend the error for an unknown setting with the place where the setting belongs.

    Arguments:
        model: the name, table, or instance of the model, or None if the error has the recipe.
        data: the name, table, or instance of the dataset, or None if the error has the recipe.
        call: the function in the example for a setting of the model, `"fit"` or `"load"`.
    """
    try:
        yield
    except UnknownSettingError as error:
        model = error.recipe.get("model") if model is None else model
        data = error.recipe.get("data") if data is None else data
        hint = _hint(error.key, error.value, model, data, call)
        if hint is None:
            raise
        raise type(error)(error.message, error.key, error.value, f" {hint}", error.recipe) from None


def _hint(key: str, value: Any, model: Any, data: Any, call: str) -> str | None:
    paths = _paths(key, model, data)
    real, renamed = key, ""
    if not paths and key in NAMES:
        real, renamed = NAMES[key], f"{key!r} is {NAMES[key]!r} here"
        paths = _paths(real, model, data)
        if real == "name":
            paths = [path for path in paths if path[0] == "players"]
    if not paths or (real == "name" and not isinstance(value, str)):
        return None
    if renamed and real == "device":
        # other libraries take a number of devices, or "gpu"
        value = "cuda"
    elif renamed and real == "hidden" and not isinstance(value, list | tuple):
        value = (value,)
    section, *within = paths[0][:-1]
    slots = " and ".join(dict.fromkeys(path[-2] for path in paths))
    owner = {
        "model": f"the model's {slots}" if within else "the model",
        "data": "the dataset",
        "train": "training",
        "players": "a player's optimizer",
    }[section]
    explanation = (
        f"{renamed}, a setting of {owner}" if renamed else f"{key!r} is a setting of {owner}"
    )
    values = {path: value if path[-1] in (key, real) else _NETWORK for path in paths}
    texts = " ".join(f"{'.'.join(path)}={_toml(item)}" for path, item in values.items())
    example = _python(values, model, data, call)
    return f"{explanation}: {example}; in a recipe or override, {texts}."


def _paths(key: str, model: Any, data: Any) -> list[Path]:
    """Return the paths of a setting in the recipe for a model and a dataset, or an empty list."""
    if key in {field.name for field in fields(Settings)}:
        return [("train", key)]
    model_parameters = _parameters(model, "models")
    if key in model_parameters and key != "shape":
        return [("model", key)]
    if key in _parameters(data, "datasets"):
        return [("data", key)]
    players = [player.name for player in _players(model) if key in _optimizer_settings(player)]
    if players:
        return [("players", player, key) for player in players]
    paths: list[Path] = []
    for slot, parameter in model_parameters.items():
        if key in _slot_parameters(slot, parameter.default):
            paths.append(("model", slot, key))
        elif parameter.default is None and key in _slot_parameters(slot, _NETWORK):
            paths += [("model", slot, "name"), ("model", slot, key)]
    return paths


def _optimizer_settings(player: Any) -> set[str]:
    optimizer = OPTIMIZERS[str(player.optimizer["name"]).lower()]
    return {"name", *parameters(optimizer)} - {"params"}


def _parameters(spec: Any, kind: str) -> Mapping[str, Any]:
    name = _name(spec)
    if isinstance(spec, Model):
        return parameters(type(spec))
    return parameters(registry(kind).get(name)) if name in registry(kind) else {}


def _slot_parameters(slot: str, default: Any) -> set[str]:
    """Return the settings of the default part in a slot."""
    name = _name(default)
    part = {"generator": "decoder", "penalty": "divergence"}.get(slot, slot)
    kinds = [kind for kind in KINDS if SINGULAR[kind] == part]
    if name is None or not kinds or name not in registry(kinds[0]):
        return set()
    return {*parameters(registry(kinds[0]).get(name))} - {"shape", "dim"}


def _players(model: Any) -> Any:
    """Return the players of a model that have a known optimizer. Build the model from its name."""
    try:
        built = model if isinstance(model, Model) else build(str(_name(model)))
        players = built.players()
        return [p for p in players if str(p.optimizer.get("name")).lower() in OPTIMIZERS]
    # a model may need settings
    except (GenzooError, RuntimeError, TypeError, AttributeError):
        return []


def _name(spec: Any) -> Any:
    if isinstance(spec, Mapping):
        return spec.get("name")
    if isinstance(spec, Model):
        try:
            return init_record(spec).name
        except GenzooError:
            return None
    return spec if isinstance(spec, str) else None


def _python(values: Mapping[Path, Any], model: Any, data: Any, call: str) -> str:
    """Return a call of genzoo that has each value in its place."""
    tables: dict[str, Any] = {}
    for path, value in values.items():
        table = tables
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = value
    names = {"model": _name(model) or "vae", "data": _name(data) or "digits"}
    if call == "load" and "model" in tables:
        return f"genzoo.load({_show(names['model'])}, {_keywords(tables['model'])})"
    arguments = [
        _show({"name": name, **tables[section]} if section in tables else name)
        for section, name in names.items()
    ]
    if "players" in tables:
        arguments.append(f"players={_show(tables['players'])}")
    if "train" in tables:
        arguments.append(_keywords(tables["train"]))
    return f"genzoo.fit({', '.join(arguments)})"


def _keywords(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_show(value)}" for key, value in table.items())


def _show(value: Any) -> str:
    """Format a value as Python, in the way a person would type it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_show(k)}: {_show(v)}' for k, v in value.items())}}}"
    return repr(value)


def _toml(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)
