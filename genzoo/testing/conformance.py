"""The conformance suite: what every registered thing must do, for our tests and for those of plugin authors.

In a test file, every check is a test of its own:

    @pytest.mark.parametrize("check", checks("my-model"), ids=str)
    def test_my_model(check):
        check()

Things are built anew for each check, and a check that needs a capability (`log_prob`, `encode`, ...) runs where there is one.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

import torch

from genzoo.contract import Critic, Decoder, Encoder, Model, Prior, Shape, Translator
from genzoo.distributed import exclusive
from genzoo.errors import GenzooError, SettingError, did_you_mean
from genzoo.registry.build import build
from genzoo.registry.lookup import kinds_of, registry
from genzoo.testing.subject import Subject, check_device, no_outputs
from genzoo.testing.suites import KIND_OF, SUITES, CheckFunction, Suite

Testable = str | Mapping[str, Any] | Model | Callable[..., Any]
"""What can be tested: a registered name, a table, a class or factory that takes the sizes of its kind, or an instance."""


@dataclass(frozen=True)
class Result:
    """What came of one check; `reason` says why it failed, was expected to, or was skipped."""

    check: str
    ok: bool
    reason: str = ""
    skipped: bool = False

    def __str__(self) -> str:
        word = "skip" if self.skipped else "ok  " if self.ok else "FAIL"
        return f"{word} {self.check}" + (f": {self.reason}" if self.reason else "")


class ConformanceError(AssertionError):
    """A thing does not do what the contract promises; `results` has every check, those that passed included."""

    def __init__(self, name: str, results: Sequence[Result]) -> None:
        self.results = list(results)
        failed = [result for result in results if not result.ok]
        super().__init__(
            "\n".join([f"{name} fails {len(failed)} of {len(results)} checks:", *map(str, failed)])
        )


@dataclass(frozen=True)
class Check:
    """One promise of the contract, tested on one thing by calling this; its string is a test's id.

    A check with an `excuse` is expected to fail: it then passes, and fails if the promise is kept after all. Where what it needs
    is not on this machine, it raises `unittest.SkipTest`, which pytest knows.
    """

    run: CheckFunction
    subject: Subject
    excuse: str | None = None

    @property
    def name(self) -> str:
        return self.run.__name__.removeprefix("check_")

    def __str__(self) -> str:
        return "-".join(
            [self.name, *(["x".join(map(str, self.subject.shape))] if self.subject.shape else [])]
        )

    def __call__(self) -> None:
        try:
            with exclusive(), torch.random.fork_rng():
                self.run(self.subject)
        except SkipTest:
            raise
        except Exception:
            if self.excuse is None:
                raise
        else:
            if self.excuse is not None:
                raise AssertionError(
                    f"it passes, but was expected to fail ({self.excuse}); take it out of expected_failures"
                )

    def result(self) -> Result:
        """Run it and report."""
        try:
            self()
        except SkipTest as skip:
            return Result(str(self), True, str(skip), skipped=True)
        except AssertionError as error:
            return Result(str(self), False, str(error))
        except Exception as error:
            return Result(str(self), False, f"{type(error).__name__}: {error}")
        return Result(str(self), True, f"expected failure: {self.excuse}" if self.excuse else "")


def check(
    thing: Testable,
    kind: str | None = None,
    shapes: Sequence[Shape] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Result]:
    """Run the whole suite on a thing.

    Arguments:
        thing: a registered name, a table, a class or factory that takes the sizes of its kind, or an instance, which is left
            as it is.
        kind: `"models"`, `"priors"`, ...; None finds it, where there is only one that it can be.
        shapes: what to build it for: the shapes of examples, `(dim,)` for a prior or a divergence between samples. By default its
            class's `example_shapes`, or else those of its kind.
        expected_failures: check -> reason, for checks that it cannot meet, beside those of its attribute of this name;
            `"compile"`, or `"compile-4x4"` for one shape alone.
        **settings: constructor arguments.

    Returns:
        The result of each check.

    Raises:
        ConformanceError: a check failed that should not, or passed that should not.
        SettingError: several kinds have the name, `expected_failures` names no check, or an instance is given settings.

    Example:
        >>> results = check("uniform", low=0.0)
        >>> all(result.ok for result in results)
        True
    """
    results = [each.result() for each in checks(thing, kind, shapes, expected_failures, **settings)]
    if not all(result.ok for result in results):
        raise ConformanceError(_name(thing), results)
    return results


def checks(
    thing: Testable,
    kind: str | None = None,
    shapes: Sequence[Shape] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Check]:
    """The checks that apply to a thing, to be run one by one; arguments as of `check`.

    What cannot be built has a single check, which fails and says why: collecting tests raises nothing for it.

    Raises:
        SettingError: as of `check`.
    """
    kind = kind or kind_of(thing)
    registry(kind)
    maker = _maker(thing, kind, settings)
    found: list[Check] = []
    suite, default_shapes = _suite(thing, kind, maker)
    for shape in default_shapes if shapes is None or _is_instance(thing) else shapes:
        subject = Subject(maker, tuple(shape), suite.inputs, suite.outputs)
        built = _built(subject, kind)
        if built is None:
            found.append(Check(suite.always[0], subject))
            continue
        excuses = {**getattr(built, "expected_failures", {}), **(expected_failures or {})}
        for name in excuses:
            if name.partition("-")[0] not in suite.names:
                hint = did_you_mean(name, suite.names)
                raise SettingError(
                    f"{_name(thing)} expects a failure of {name!r}, which is no check.{hint}"
                )
        runs = suite.checks_for(built)
        if torch.accelerator.is_available() and suite.outputs is not no_outputs:
            runs.append(check_device)
        for run in runs:
            plain = Check(run, subject)
            found.append(Check(run, subject, excuses.get(str(plain), excuses.get(plain.name))))
    return found


def check_model(
    model: Testable,
    shapes: Sequence[Shape] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Result]:
    """Run the whole suite on a model; see `check`.

    Example:
        >>> results = check_model("vae", shapes=[(1, 8, 8)], latent_dim=2, encoder={"name": "mlp", "hidden": [16]})
        >>> all(result.ok for result in results)
        True
    """
    return check(model, "models", shapes, expected_failures, **settings)


def model_checks(
    model: Testable,
    shapes: Sequence[Shape] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Check]:
    """The checks that apply to a model, to be run one by one; see `checks`."""
    return checks(model, "models", shapes, expected_failures, **settings)


def kind_of(thing: Testable) -> str:
    """The kind of a registered name, a table, a class or an instance; `"models"` for what nobody knows.

    Raises:
        SettingError: several kinds have the name.
    """
    if isinstance(thing, str | Mapping):
        name = thing if isinstance(thing, str) else str(thing.get("name"))
        kinds = kinds_of(name)  # refused ones too, for the first check to say
        if len(kinds) > 1:
            raise SettingError(
                f"{name!r} is the name of {' and '.join(kinds)}; say which kind is meant."
            )
        return kinds[0] if kinds else "models"
    bases = thing.__mro__ if inspect.isclass(thing) else type(thing).__mro__
    return next((KIND_OF[base] for base in bases if base in KIND_OF), "models")


def _suite(
    thing: Testable, kind: str, maker: Callable[[Shape], Any]
) -> tuple[Suite, Sequence[Shape]]:
    """The suite of a thing, and the shapes that it is built for."""
    suites = SUITES[kind]
    suite = suites[0]
    if len(suites) > 1:
        built = _built(Subject(maker), kind)
        suite = next((suite for suite in suites if isinstance(built, suite.base)), suites[-1])
    if isinstance(thing, Model):
        return suite, [thing.shape]
    if isinstance(thing, Prior):
        return suite, [(thing.dim,)]
    target: Any = thing
    if isinstance(thing, str | Mapping):
        try:
            target = registry(kind).get(thing if isinstance(thing, str) else thing["name"])
        except (GenzooError, KeyError):  # for the first check to say
            target = None
    return suite, getattr(target, "example_shapes", suite.shapes)


def _built(subject: Subject, kind: str) -> Any:
    """The thing, or None if it cannot be built; why not is for the first check to say."""
    try:
        with exclusive(), torch.random.fork_rng():
            thing = subject()
    except Exception:
        return None
    return thing if isinstance(thing, tuple(suite.base for suite in SUITES[kind])) else None


def _is_instance(thing: Testable) -> bool:
    return not inspect.isclass(thing) and any(isinstance(thing, base) for base in KIND_OF)


def _maker(thing: Testable, kind: str, settings: Mapping[str, Any]) -> Callable[[Shape], Any]:
    """Copies throughout: a part that is handed in as an instance must not be shared by the things made with it."""
    sizes = SUITES[kind][0].sizes
    if _is_instance(thing):
        if settings:
            raise SettingError(
                f"{_name(thing)} is an instance, which takes no settings: {', '.join(settings)}; give its class."
            )
        if isinstance(thing, Encoder | Decoder | Critic | Translator):
            raise SettingError(
                f"{_name(thing)} is an instance, of sizes that are not the suite's; give its class and settings."
            )
        return lambda _: copy.deepcopy(thing)
    if isinstance(thing, str | Mapping):
        table = {**({"name": thing} if isinstance(thing, str) else thing), **settings}
        return lambda shape: build(copy.deepcopy(table), kind, **sizes(shape))
    return lambda shape: thing(**sizes(shape), **copy.deepcopy(dict(settings)))  # type: ignore[operator]


def _name(thing: Testable) -> str:
    if isinstance(thing, Mapping):
        return str(thing.get("name"))
    return thing if isinstance(thing, str) else getattr(thing, "__name__", type(thing).__name__)
