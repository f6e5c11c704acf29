"""Compare runs: measure them on the same data, and group those that differ in the seed only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.contract import Model, is_image
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.errors import SettingError
from genzoo.metrics.comparison import PICTURES, Comparison, differing_settings
from genzoo.metrics.evaluate import evaluate, model_and_data
from genzoo.metrics.groups import Group
from genzoo.runs.folder import RunFolder
from genzoo.runs.modes import eval_mode
from genzoo.runs.recipe import Recipe, differences
from genzoo.runs.result import Run

__all__ = ["compare"]


def compare(
    runs: Iterable[str | Path | Run[Any]],
    data: Any = None,
    metrics: Any = None,
    *,
    n: int = 10_000,
    seed: int = 0,
    device: str = "cpu",
) -> Comparison:
    """Measure several runs on the same held-out data, and compare them.

    Runs whose recipes differ only in the seed form a group. Train at least three seeds of each
    recipe: retraining changes most values by more than another set of samples does.

    Arguments:
        runs: run folders, results of `fit` that have folders, or folders of run folders.
        data: a `Dataset`, or a name, table, or arrays as for `genzoo.fit`. By default, the data of
            the runs, which must be the same for all.
        metrics: as in `genzoo.evaluate`.
        n: as in `genzoo.evaluate`.
        seed: as in `genzoo.evaluate`.
        device: the device of the models.

    Raises:
        RunError: a path is not a run folder, or the data of a run have changed.
        SettingError: there are no runs, or they were trained on different data and `data` is None.

    Example:
        >>> import genzoo
        >>> folder = getfixture("tmp_path")
        >>> for latent_dim in (2, 4):
        ...     table = {"name": "vae", "latent_dim": latent_dim}
        ...     run = genzoo.fit(table, "digits", folder / f"vae-{latent_dim}", steps=2)
        >>> comparison = compare([folder], metrics=["reconstruction"], n=100)
        >>> print(comparison.settings)
        {'model.latent_dim': [2, 4]}
    """
    folders = [folder for run in runs for folder in _folders(run)]
    if not folders:
        raise SettingError("There are no runs to compare; give at least one run folder.")
    recipes = {folder: folder.recipe() for folder in folders}
    if data is None:
        _check_same_dataset(recipes)
    groups: list[list[RunFolder]] = []
    for folder in folders:
        for group in groups:
            if not differing_settings([recipes[group[0]], recipes[folder]]):
                group.append(folder)
                break
        else:
            groups.append([folder])
    names = _names(groups)
    results = []
    for name, group in zip(names, groups, strict=True):
        evaluations, samples = [], None
        for folder in group:
            model, dataset = model_and_data(folder.path, data)
            model.to(device)
            evaluations.append(evaluate(model, dataset, metrics, n=n, seed=seed))
            samples = _images(model, seed) if samples is None else samples
        results.append(
            Group(
                name=name,
                recipe=recipes[group[0]],
                runs=tuple(str(folder.path) for folder in group),
                evaluations=tuple(evaluations),
                samples=samples,
            )
        )
    return Comparison(results)


def _folders(run: str | Path | Run[Any]) -> list[RunFolder]:
    """Return the run folders of a path, which may be a folder of run folders.

    Raises:
        SettingError: a run has no folder.
    """
    if isinstance(run, Run):
        if run.folder is None:
            raise SettingError(
                "A run without a folder cannot be compared; train it with "
                'genzoo.fit(model, data, "runs/NAME").'
            )
        run = run.folder
    folder = RunFolder.find(run)
    if folder.path.is_dir() and not folder.is_run():
        inner = [RunFolder(path) for path in sorted(folder.path.iterdir()) if path.is_dir()]
        inner = [path for path in inner if path.is_run()]
        if inner:
            return inner
    return [folder]


def _check_same_dataset(recipes: Mapping[RunFolder, Recipe]) -> None:
    """Check that all runs have the same data.

    Raises:
        SettingError: they do not.
    """
    (first, recipe), *others = recipes.items()
    for folder, other in others:
        changes = differences({"data": recipe["data"]}, {"data": other["data"]})
        if changes:
            raise SettingError(
                f"{first.path} and {folder.path} were trained on different data "
                f"({'; '.join(changes)}), so their values do not compare; pass the data on which "
                "to measure all of them."
            )


def _names(groups: Sequence[Sequence[RunFolder]]) -> list[str]:
    """Return a different name for each group: that of its folder, or of the folder of its runs."""
    paths = [group[0].path.resolve() for group in groups]
    paths = [path.parent if path.name.startswith("seed-") else path for path in paths]
    names = [path.name for path in paths]
    names = [
        f"{path.parent.name}/{path.name}" if names.count(path.name) > 1 else path.name
        for path in paths
    ]
    return [
        f"{name} {number}" if names.count(name) > 1 else name
        for number, name in enumerate(names, start=1)
    ]


@torch.no_grad()
def _images(model: Model, seed: int) -> Tensor | None:
    """Return a row of samples, or None if the model needs conditions or has no images.

    A model with labels draws them, with the same seed for each run.
    """
    needs_conditions = model.given and not getattr(model, "classes", 0)
    if needs_conditions or not is_image(model.shape):
        return None
    device = model.reference_tensor.device
    with eval_mode(model), exclusive(device):
        reseed(device, "compare", seed)
        samples = model.sample(PICTURES)
    return samples.cpu() if isinstance(samples, Tensor) else None
