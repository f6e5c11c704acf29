"""The conformance suite, for the tests of genzoo and of plugins.

In a test file, each check becomes one test:

    @pytest.mark.parametrize("check", checks("my-model"), ids=str)
    def test_my_model(check):
        check()

Each check builds a new object. Checks of a capability (`log_prob`, `encode`, ...) only run if the
object supports it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

import torch

from genzoo.contract import (
    Critic,
    Decoder,
    Encoder,
    FeatureNetwork,
    Model,
    Prior,
    Shape,
    Translator,
)
from genzoo.distributed.random_state import exclusive
from genzoo.errors import GenzooError, SettingError, did_you_mean
from genzoo.registry.build import build
from genzoo.registry.lookup import kinds_of, registry
from genzoo.testing.subject import Subject, check_device, no_outputs
from genzoo.testing.suites import KIND_OF, SUITES, CheckFunction, Suite

__all__ = [
    "Check",
    "ConformanceError",
    "Result",
    "Testable",
    "check",
    "check_model",
    "checks",
    "kind_of",
    "model_checks",
]

Testable = str | Mapping[str, Any] | Model | Callable[..., Any]
"""A registered name, a table, an instance, or a class or factory that takes the kind's sizes."""


@dataclass(frozen=True)
class Result:
    """The result of one check."""

    check: str
    """The name of the check."""
    ok: bool
    """True unless the check failed."""
    reason: str = ""
    """Why the check failed, was expected to fail, or was skipped."""
    skipped: bool = False
    """True if the check did not run."""

    def __str__(self) -> str:
        status = "ok  " if self.ok else "FAIL"
        if self.skipped:
            status = "skip"
        reason = f": {self.reason}" if self.reason else ""
        return f"{status} {self.check}{reason}"


class ConformanceError(AssertionError):
    """An object fails checks of the contract. `results` holds the results of all checks."""

    def __init__(self, name: str, results: Sequence[Result]) -> None:
        self.results = list(results)
        failed = [result for result in results if not result.ok]
        super().__init__(
            "\n".join([f"{name} fails {len(failed)} of {len(results)} checks:", *map(str, failed)])
        )


@dataclass(frozen=True)
class Check:
    """One check of one object. Call it to run it; its string is the id of a test.

    A check with an `excuse` is expected to fail, so it raises an error if it does not. A check
    raises `unittest.SkipTest`, which pytest understands, if this machine lacks something it needs.
    """

    run: CheckFunction
    subject: Subject
    excuse: str | None = None

    @property
    def name(self) -> str:
        """The name of the check, such as `"sample"`."""
        return self.run.__name__.removeprefix("check_")

    def __str__(self) -> str:
        if not self.subject.shape:
            return self.name
        return f"{self.name}-{'x'.join(map(str, self.subject.shape))}"

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
                    f"it passes, but was expected to fail ({self.excuse}); take it out of "
                    "expected_failures"
                )

    def result(self) -> Result:
        """Run the check and return its result."""
        try:
            self()
        except SkipTest as skip:
            return Result(str(self), ok=True, reason=str(skip), skipped=True)
        except AssertionError as error:
            return Result(str(self), ok=False, reason=str(error))
        except Exception as error:
            return Result(str(self), ok=False, reason=f"{type(error).__name__}: {error}")
        reason = f"expected failure: {self.excuse}" if self.excuse else ""
        return Result(str(self), ok=True, reason=reason)


def check(
    thing: Testable,
    kind: str | None = None,
    shapes: Sequence[Shape] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Result]:
    """Run all checks on an object.

    Arguments:
        thing: a registered name, a table, a class or factory that takes the sizes of its kind, or
            an instance, which is not changed.
        kind: `"models"`, `"priors"`, ...; by default, the only kind that fits.
        shapes: the shapes to test: shapes of examples, or `(dim,)` for a prior or a divergence. By
            default, they are the `example_shapes` of the class, or those of the kind.
        expected_failures: check -> reason, for checks that are expected to fail, in addition to the
            attribute of this name. A name is `"compile"`, or `"compile-4x4"` for one shape.
        **settings: constructor arguments.

    Returns:
        The result of each check.

    Raises:
        ConformanceError: a check failed unexpectedly, or passed although it should fail.
        SettingError: several kinds have the name, `expected_failures` names an unknown check, or
            there are settings for an instance.

    Example:
        >>> results = check("uniform", low=0.0)
        >>> all(result.ok for result in results)
        True
    """
    results = [one.result() for one in checks(thing, kind, shapes, expected_failures, **settings)]
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
    """Return the checks of an object, to run one by one. See `check` for the arguments.

    If the object cannot be built, this raises no error, so that tests can still be collected. It
    returns a single check, which fails with the reason.

    Raises:
        SettingError: as in `check`.

    Example:
        >>> [str(check) for check in checks("normal", "priors", shapes=[(2,)])][:2]
        ['builds-2', 'sample-2']
    """
    kind = kind or kind_of(thing)
    registry(kind)
    maker = _maker(thing, kind, settings)
    collected: list[Check] = []
    suite, default_shapes = _suite(thing, kind, maker)
    if shapes is None or _is_instance(thing):
        shapes = default_shapes
    for shape in shapes:
        subject = Subject(maker, tuple(shape), suite.inputs, suite.outputs)
        built = _built(subject, kind)
        if built is None:
            collected.append(Check(suite.always[0], subject))
            continue
        excuses = {**getattr(built, "expected_failures", {}), **(expected_failures or {})}
        for name in excuses:
            if name.partition("-")[0] not in suite.names:
                hint = did_you_mean(name, suite.names)
                raise SettingError(
                    f"{_name(thing)} expects a failure of {name!r}, which is not a check.{hint}"
                )
        functions = suite.checks_for(built)
        if torch.accelerator.is_available() and suite.outputs is not no_outputs:
            functions.append(check_device)
        for function in functions:
            plain = Check(function, subject)
            excuse = excuses.get(str(plain), excuses.get(plain.name))
            collected.append(Check(function, subject, excuse))
    return collected


def check_model(
    model: Testable,
    shapes: Sequence[Shape] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Result]:
    """Run all checks on a model. See `check` for the arguments.

    Example:
        >>> encoder = {"name": "mlp", "hidden": [16]}
        >>> results = check_model("vae", shapes=[(1, 8, 8)], latent_dim=2, encoder=encoder)
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
    """Return the checks of a model, to run one by one. See `check` for the arguments."""
    return checks(model, "models", shapes, expected_failures, **settings)


def kind_of(thing: Testable) -> str:
    """Return the kind of an object, or `"models"` if it is unknown.

    Arguments:
        thing: a registered name, a table, a class, or an instance.

    Raises:
        SettingError: several kinds have the name.

    Example:
        >>> kind_of("mog"), kind_of({"name": "vae", "latent_dim": 2})
        ('priors', 'models')
    """
    if isinstance(thing, str | Mapping):
        name = thing if isinstance(thing, str) else str(thing.get("name"))
        # Includes names whose plugin is blocked: the first check reports the reason.
        kinds = kinds_of(name)
        if len(kinds) > 1:
            raise SettingError(f"{name!r} is a name of {' and '.join(kinds)}; choose the kind.")
        return kinds[0] if kinds else "models"
    bases = thing.__mro__ if inspect.isclass(thing) else type(thing).__mro__
    return next((KIND_OF[base] for base in bases if base in KIND_OF), "models")


def _suite(
    thing: Testable, kind: str, maker: Callable[[Shape], Any]
) -> tuple[Suite, Sequence[Shape]]:
    """Return the suite of an object, and the default shapes."""
    suites = SUITES[kind]
    suite = suites[0]
    if len(suites) > 1:
        built = _built(Subject(maker), kind)
        suite = next((suite for suite in suites if isinstance(built, suite.base)), suites[-1])
    if isinstance(thing, Model | FeatureNetwork):
        return suite, [tuple(thing.shape)]
    if isinstance(thing, Prior):
        return suite, [(thing.dim,)]
    target: Any = thing
    if isinstance(thing, str | Mapping):
        try:
            target = registry(kind).get(thing if isinstance(thing, str) else thing["name"])
        except (GenzooError, KeyError):
            # The first check reports the error.
            target = None
    return suite, getattr(target, "example_shapes", suite.shapes)


def _built(subject: Subject, kind: str) -> Any:
    """Return the object, or None if it cannot be built; the first check reports the error."""
    try:
        with exclusive(), torch.random.fork_rng():
            thing = subject()
    except Exception:
        return None
    return thing if isinstance(thing, tuple(suite.base for suite in SUITES[kind])) else None


def _is_instance(thing: Testable) -> bool:
    return not inspect.isclass(thing) and any(isinstance(thing, base) for base in KIND_OF)


def _maker(thing: Testable, kind: str, settings: Mapping[str, Any]) -> Callable[[Shape], Any]:
    """Return a function that builds the object for a shape.

    It copies everything, so that objects do not share a part that was passed as an instance.
    """
    sizes = SUITES[kind][0].sizes
    if _is_instance(thing):
        if settings:
            raise SettingError(
                f"{_name(thing)} is an instance, which takes no settings: {', '.join(settings)}; "
                "pass its class."
            )
        if isinstance(thing, Encoder | Decoder | Critic | Translator):
            raise SettingError(
                f"{_name(thing)} is an instance, of sizes that are not the suite's; pass its class "
                "and settings."
            )
        return lambda _: copy.deepcopy(thing)
    if isinstance(thing, str | Mapping):
        base = {"name": thing} if isinstance(thing, str) else thing
        table = {**base, **settings}
        return lambda shape: build(copy.deepcopy(table), kind, **sizes(shape))
    return lambda shape: thing(**sizes(shape), **copy.deepcopy(dict(settings)))  # type: ignore[operator]


def _name(thing: Testable) -> str:
    if isinstance(thing, Mapping):
        return str(thing.get("name"))
    if isinstance(thing, str):
        return thing
    return getattr(thing, "__name__", type(thing).__name__)
