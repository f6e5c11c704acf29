"""Train a recipe with several seeds, one run folder each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genzoo.contract import Model
from genzoo.contract.inputs import whole
from genzoo.errors import SettingError
from genzoo.runs.folder import RunFolder
from genzoo.runs.result import Run
from genzoo.train.engine import Engine
from genzoo.train.loop import fit
from genzoo.train.seed_processes import fit_in_processes

__all__ = ["fit_seeds"]


def fit_seeds(
    model: str | Mapping[str, Any],
    data: Any,
    out: str | Path,
    seeds: int | Sequence[int],
    *,
    jobs: int = 1,
    **settings: Any,
) -> Iterator[Run[Model]]:
    """Train a model with several seeds, and yield the runs.

    The seed changes the initial weights, the order of the data, and the noise, but not the split
    of a dataset. The folders are `seed-0`, `seed-1`, and so on. The same call continues after an
    interruption: it keeps complete runs and resumes the unfinished one.

    Arguments:
        model: the name or table of a model, which is built anew for each seed.
        data: as for `genzoo.fit`.
        out: the folder of the run folders.
        seeds: the number of seeds, which are then 0, 1, and so on, or the seeds.
        jobs: the number of runs that are trained at the same time, each in a new process with its
            share of the CPU cores. More than one changes the last digits of results, if the number
            of threads does. The data must then be a name or a table. As for every use of
            `multiprocessing`, a script calls this function under `if __name__ == "__main__":`. The
            runs are yielded as they end.
        **settings: as for `genzoo.fit`, without `seed` and `resume`. `overwrite=True` trains
            complete runs again.

    Raises:
        SettingError: the seeds are not different integers of 0 or more, there are none, or the
            model is an instance, which cannot be built again; or there are several jobs, and the
            data are not a name or a table, or a run uses a GPU.
        TrainingError: the process of a run died. The other runs end first.

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
    whole(jobs, f"jobs = {jobs!r}", 1)
    if jobs > 1 and len(numbers) > 1:
        _check_jobs(data, jobs, settings)
        return _parallel_runs(model, data, Path(out), numbers, jobs, settings)
    return _runs(model, data, Path(out), numbers, settings)


def _check_jobs(data: Any, jobs: int, settings: Mapping[str, Any]) -> None:
    """Check that runs can be trained in processes of their own."""
    if not isinstance(data, str) and not (isinstance(data, Mapping) and "name" in data):
        raise SettingError(
            f"jobs = {jobs}: each run has a process of its own, which builds the data; pass the "
            "name or the table of a dataset, or leave out jobs."
        )
    if any(callable(value) for value in settings.values()):
        raise SettingError(
            f"jobs = {jobs}: a function cannot be passed to another process; leave out jobs."
        )
    if any(not isinstance(spec, str | Mapping) for spec in settings.get("loggers") or ()):
        raise SettingError(
            f"jobs = {jobs}: a logger that is an object cannot be passed to another process; name "
            'it, as in loggers=["wandb"], or leave out jobs.'
        )
    device = settings.get("device", "auto")
    engine = Engine(device, "32-true")
    if engine.size > 1:
        raise SettingError(
            f"jobs = {jobs}: {engine.size} processes were started already, for each run; leave out "
            "jobs, or start one process."
        )
    if engine.device.type != "cpu":
        raise SettingError(
            f"jobs = {jobs}: the runs would share one {device} device; leave out jobs, or set "
            'device = "cpu".'
        )


def _runs(
    model: Any,
    data: Any,
    out: Path,
    seeds: Sequence[int],
    settings: Mapping[str, Any],
) -> Iterator[Run[Model]]:
    for seed in seeds:
        folder = out / f"seed-{seed}"
        yield fit(model, data, folder, seed=seed, **_resuming(folder, settings))


def _parallel_runs(
    model: Any,
    data: Any,
    out: Path,
    seeds: Sequence[int],
    jobs: int,
    settings: Mapping[str, Any],
) -> Iterator[Run[Model]]:
    progress = settings.get("progress", True)
    shared = {"model": model, "data": data}
    shared |= {name: value for name, value in settings.items() if name != "progress"}
    seed_of = {out / f"seed-{seed}": seed for seed in seeds}
    calls = [(path, {**_resuming(path, shared), "seed": seed}) for path, seed in seed_of.items()]
    total = settings.get("steps") if settings.get("epochs") is None else None
    for path in fit_in_processes(calls, jobs, total=total, progress=progress):
        again = {name: value for name, value in shared.items() if name != "overwrite"}
        yield fit(out=path, seed=seed_of[path], resume=True, progress=False, **again)


def _resuming(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings, with `resume` if the folder holds a run that is to be kept."""
    resume = not settings.get("overwrite") and RunFolder(folder).is_run()
    return {**settings, "resume": resume}
