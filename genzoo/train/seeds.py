"""Train a recipe with several seeds, one run folder each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genzoo.contract import Model
from genzoo.contract.inputs import whole
from genzoo.errors import SettingError
from genzoo.runs.folder import Run, RunFolder
from genzoo.train.loop import fit

__all__ = ["fit_seeds"]


def fit_seeds(
    model: str | Mapping[str, Any],
    data: Any,
    out: str | Path,
    seeds: int | Sequence[int],
    **settings: Any,
) -> Iterator[Run[Model]]:
    """Train a model with several seeds, one after another, and yield the runs.

    The seed changes the initial weights, the order of the data, and the noise, but not the split
    of a dataset. The folders are `seed-0`, `seed-1`, and so on. The same call continues after an
    interruption: it keeps complete runs and resumes the unfinished one.

    Arguments:
        model: the name or table of a model, which is built anew for each seed.
        data: as for `genzoo.fit`.
        out: the folder of the run folders.
        seeds: the number of seeds, which are then 0, 1, and so on, or the seeds.
        **settings: as for `genzoo.fit`, without `seed` and `resume`. `overwrite=True` trains
            complete runs again.

    Raises:
        SettingError: the seeds are not different integers of 0 or more, there are none, or the
            model is an instance, which cannot be built again.

    Example:
        >>> runs = list(fit_seeds("vae", "digits", getfixture("tmp_path"), 2, steps=1))
        >>> [run.folder.name for run in runs]
        ['seed-0', 'seed-1']
    """
    if not isinstance(model, str | Mapping):
        raise SettingError(
            f"fit_seeds builds the model anew for each seed, so it needs a name or a table, not "
            f"an instance of {type(model).__name__}."
        )
    for name in ("seed", "resume"):
        if name in settings:
            raise SettingError(f"fit_seeds sets {name} itself; leave it out.")
    numbers = range(whole(seeds, f"seeds = {seeds!r}", 1)) if isinstance(seeds, int) else seeds
    numbers = [whole(seed, f"seed = {seed!r}", 0) for seed in numbers]
    if not numbers or len(set(numbers)) < len(numbers):
        raise SettingError(f"seeds = {seeds!r}: expected different integers, at least one.")
    return _runs(model, data, Path(out), numbers, settings)


def _runs(
    model: Any,
    data: Any,
    out: Path,
    seeds: Sequence[int],
    settings: Mapping[str, Any],
) -> Iterator[Run[Model]]:
    for seed in seeds:
        folder = out / f"seed-{seed}"
        resume = not settings.get("overwrite") and RunFolder(folder).is_run()
        yield fit(model, data, folder, seed=seed, resume=resume, **settings)
