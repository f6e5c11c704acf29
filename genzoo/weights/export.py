"""Export a method of a model as one file that runs without genzoo."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, get_args

import torch

from genzoo.__about__ import __version__
from genzoo.contract import Model
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import SettingError, did_you_mean, show
from genzoo.files import atomic, local_path
from genzoo.registry.records import config
from genzoo.runs.folder import RunFolder
from genzoo.runs.portable import recipe_digest
from genzoo.runs.result import Run
from genzoo.runs.weights import model_fingerprint, origin
from genzoo.weights.parts import Part, call, describe_part, name_of, parts, random_inputs
from genzoo.weights.programs import SUFFIXES, Format, check_same, require, runner, traced

__all__ = ["export", "model_and_recipe"]

_TRACED = 4
"""The number of examples in the batch with which a method is traced."""
_TESTED = (1, 3, 9)
"""The numbers of examples in the batches with which a file is compared, each with other numbers."""


def export(
    run: Model | Run[Any] | str | Path,
    path: str | Path,
    to: Format = "onnx",
    part: Part | None = None,
) -> Path:
    """Export a method of a model as one file that runs without genzoo, in single precision.

    The file computes what the method of the model returns, so images are in [0, 1]. The batch may
    have any size. Before the file is kept, it is compared with the model on random inputs of other
    batch sizes. The file describes itself in JSON under the key `genzoo`: in the metadata of ONNX,
    or in `genzoo.json`, an extra file of `torch.export`.

    Arguments:
        run: a model, the result of `fit`, a run folder, or the name of pretrained weights.
        path: the file to write, `.onnx` or `.pt2`.
        to: `"onnx"`, which needs the extra `onnx`, or `"torch-export"`.
        part: the method. `"decode"` and `"sample"` map latent vectors to data, `"encode"` maps data
            to latent codes, `"score"` is the critic, `"log_prob"` the exact likelihood, and
            `"translate"` maps images to images. A conditional model takes labels as a second input.
            By default, `"decode"` of an autoencoder, `"sample"` of a GAN, `"log_prob"` of an
            autoregressive model, and `"translate"` of a translation model.

    Returns:
        The path of the file.

    Raises:
        SettingError: the model does not have this part, its method cannot be exported, or `to` or
            the suffix of `path` is wrong.
        RunError: the file computes something else than the model, or cannot be written. A file
            that was there before is then unchanged.
        GenzooError: the extra `onnx` is not installed.

    References:
        https://docs.pytorch.org/docs/stable/export.html, https://onnx.ai

    Example:
        >>> import tempfile
        >>> from genzoo import load
        >>> model = load("wae-mmd", latent_dim=2, shape=(1, 4, 4))
        >>> file = export(model, tempfile.mkdtemp() + "/decoder.pt2", to="torch-export")
        >>> torch.export.load(file).module()(torch.zeros(3, 2)).shape
        torch.Size([3, 1, 4, 4])
    """
    target = _target(path, to)
    require(to, target)
    model, recipe = model_and_recipe(run)
    part = _chosen(model, part)
    name, cpu = name_of(model), torch.device("cpu")
    plain = copy.deepcopy(model).to(cpu, torch.float32).eval().requires_grad_(requires_grad=False)
    with exclusive(), torch.no_grad():
        reseed(cpu, "export", part)
        example, *tests = (random_inputs(plain, part, n) for n in (_TRACED, *_TESTED))
        expected = [call(plain, part, inputs) for inputs in tests]
        facts = {
            "version": __version__,
            "model": name,
            "part": part,
            "weights": model_fingerprint(model),
            "recipe": recipe,
            **describe_part(plain, part, example, expected[0]),
        }
        write = traced(plain, part, example, to, facts)
        with atomic(target, hint="Nothing was exported.") as file:
            write(file)
            run_file = runner(file, to)
            for inputs, values in zip(tests, expected, strict=True):
                check_same(run_file(inputs), values, f"{target}: {part} of {name!r}")
    return target


def _target(path: Any, to: str) -> Path:
    if to not in SUFFIXES:
        raise SettingError(f"to = {show(to)}: there is no such format.{did_you_mean(to, SUFFIXES)}")
    target = local_path(path, "path")
    if target.suffix != SUFFIXES[to]:
        raise SettingError(
            f"path = {show(str(target))}: a file of the format {to} ends in {SUFFIXES[to]}; write "
            f"{show(str(target.with_suffix(SUFFIXES[to])))}, or choose another format."
        )
    return target


def model_and_recipe(run: Any) -> tuple[Model, str | None]:
    """Return a model and the hash of its recipe: of its run, or else of its settings alone."""
    if isinstance(run, str | Path):
        run = RunFolder.find(run).model()
    if isinstance(run, Run) and run.folder is not None:
        return run.model, recipe_digest(RunFolder.find(run.folder).recipe())
    model = run.model if isinstance(run, Run) else run
    if not isinstance(model, Model):
        raise SettingError(f"run is a {type(model).__name__}: expected a model or a run folder.")
    known = origin(model)
    if "recipe" in known and known.get("sha256") == model_fingerprint(model):
        return model, known["recipe"]
    try:
        return model, recipe_digest({"model": config(model)})
    except SettingError:  # the model, or a part of it, is not registered
        return model, None


def _chosen(model: Model, part: str | None) -> Part:
    """Return the part to export.

    Raises:
        SettingError: the model does not have it.
    """
    available = parts(model)
    for name in available:
        if part in (None, name):
            return name
    has = f"it has {', '.join(available)}" if available else "it has none that can be exported"
    hint = "" if part is None or part in get_args(Part) else did_you_mean(part, get_args(Part))
    raise SettingError(f"{name_of(model)!r} has no part {show(part or 'decode')}; {has}.{hint}")
