"""The conformance suite: what every model must do, for our tests and for those of plugin authors.

In a test file, every check is a test of its own:

    @pytest.mark.parametrize("check", model_checks("my-model"), ids=str)
    def test_model(check):
        check()

Models are built anew for each check, and a check that needs a capability (`log_prob`, `encode`, ...) runs where a model has it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from genzoo.build import build
from genzoo.checks import ALWAYS, CAPABILITIES, Subject, check_builds, check_device
from genzoo.contract import Model, Shape
from genzoo.errors import SettingError, did_you_mean

Testable = str | Mapping[str, Any] | Model | Callable[..., Model]
"""What can be tested: a registered name, a table, an instance, or a class or factory that takes `shape`."""
NAMES = tuple(run.__name__.removeprefix("check_") for run in (*ALWAYS, *CAPABILITIES.values(), check_device))
"""What the checks are called."""


@dataclass(frozen=True)
class Result:
    """What came of one check; `reason` says why it failed, or why it was expected to."""

    check: str
    ok: bool
    reason: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'} {self.check}" + (f": {self.reason}" if self.reason else "")


class ConformanceError(AssertionError):
    """A model does not do what the contract promises; `results` has every check, those that passed included."""

    def __init__(self, model: str, results: Sequence[Result]) -> None:
        self.results = list(results)
        failed = [result for result in results if not result.ok]
        super().__init__("\n".join([f"{model} fails {len(failed)} of {len(results)} checks:", *map(str, failed)]))


@dataclass(frozen=True)
class Check:
    """One promise of the contract, tested on one model by calling this; its string is a test's id.

    A check with an `excuse` is expected to fail: it then passes, and fails if the model meets it after all.
    """

    run: Callable[[Subject], None]
    subject: Subject
    excuse: str | None = None

    @property
    def name(self) -> str:
        return self.run.__name__.removeprefix("check_")

    def __str__(self) -> str:
        return f"{self.name}-{'x'.join(map(str, self.subject.shape))}"

    def __call__(self) -> None:
        try:
            with torch.random.fork_rng():
                self.run(self.subject)
        except Exception:
            if self.excuse is None:
                raise
        else:
            if self.excuse is not None:
                raise AssertionError(f"it passes, but was expected to fail ({self.excuse}); take it out of expected_failures")

    def result(self) -> Result:
        """Run it and report."""
        try:
            self()
        except AssertionError as error:
            return Result(str(self), False, str(error))
        except Exception as error:
            return Result(str(self), False, f"{type(error).__name__}: {error}")
        return Result(str(self), True, f"expected failure: {self.excuse}" if self.excuse else "")


def check_model(
    model: Testable,
    shapes: Sequence[Shape] = ((1, 8, 8), (3, 9, 12)),
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Result]:
    """Run the whole suite on a model.

    Arguments:
        model: a registered name, a table, a class or factory that takes `shape`, or an instance, which is left as it is.
        shapes: the shapes of examples to build it for; an instance has its own.
        expected_failures: check -> reason, for checks that the model cannot meet, beside those of its attribute of this name.
        **settings: constructor arguments.

    Returns:
        The result of each check.

    Raises:
        ConformanceError: a check failed that should not, or passed that should not.

    Example:
        >>> results = check_model("vae", shapes=[(1, 8, 8)], latent_dim=2, encoder={"name": "mlp", "hidden": [16]})
        >>> all(result.ok for result in results)
        True
    """
    results = [check.result() for check in model_checks(model, shapes, expected_failures, **settings)]
    if not all(result.ok for result in results):
        raise ConformanceError(_name(model), results)
    return results


def model_checks(
    model: Testable,
    shapes: Sequence[Shape] = ((1, 8, 8), (3, 9, 12)),
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Check]:
    """The checks that apply to a model, to be run one by one; arguments as of `check_model`.

    A model that cannot be built has a single check, which fails and says why: collecting tests raises nothing for it.

    Raises:
        SettingError: `expected_failures` names a check that there is not, or an instance is given settings.
    """
    if isinstance(model, Model):
        if settings:
            raise SettingError(f"{_name(model)} is an instance, which takes no settings: {', '.join(settings)}; give its class.")
        shapes = [model.shape]
    checks = []
    for shape in shapes:
        subject = Subject(_maker(model, settings), tuple(shape))
        built = _built(subject)
        if built is None:
            checks.append(Check(check_builds, subject))
            continue
        excuses = {**getattr(built, "expected_failures", {}), **(expected_failures or {})}
        for name in excuses:
            if name not in NAMES:
                raise SettingError(f"{_name(model)} expects a failure of {name!r}, which is no check.{did_you_mean(name, NAMES)}")
        runs = [*ALWAYS, *(run for capability, run in CAPABILITIES.items() if hasattr(built, capability))]
        if torch.accelerator.is_available():
            runs.append(check_device)
        checks += [Check(run, subject, excuses.get(run.__name__.removeprefix("check_"))) for run in runs]
    return checks


def _built(subject: Subject) -> Model | None:
    """The model, or None if it cannot be built; why not is for `check_builds` to say."""
    try:
        with torch.random.fork_rng():
            model = subject()
    except Exception:
        return None
    return model if isinstance(model, Model) else None


def _maker(model: Testable, settings: Mapping[str, Any]) -> Callable[[Shape], Model]:
    """Copies throughout: a part that is handed in as an instance must not be shared by the models made with it."""
    if isinstance(model, Model):
        return lambda _: copy.deepcopy(model)
    if isinstance(model, str | Mapping):
        table = {**({"name": model} if isinstance(model, str) else model), **settings}
        return lambda shape: build(copy.deepcopy(table), shape=shape)
    return lambda shape: model(shape=shape, **copy.deepcopy(dict(settings)))


def _name(model: Testable) -> str:
    if isinstance(model, Mapping):
        return str(model.get("name"))
    return model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
