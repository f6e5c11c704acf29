"""Each part in this file has one fault, and the check for this fault fails with its message."""

import functools
import itertools
import random
import re
from collections import Counter
from unittest import SkipTest

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo import Dataset
from genzoo.blocks.mlp import MLPCritic, MLPDecoder, MLPEncoder
from genzoo.contract import (
    Divergence,
    Encoder,
    FeatureNetwork,
    Logger,
    Measurement,
    Metric,
    Penalty,
    Prior,
    SampleDivergence,
    Translator,
)
from genzoo.distributed import noise
from genzoo.divergences.kl import KL
from genzoo.divergences.penalties import R1
from genzoo.errors import MissingDataError, SettingError
from genzoo.models.vae import VAE
from genzoo.models.wae import WAEMMD
from genzoo.registry.records import settings_of
from genzoo.testing import ConformanceError, check, checks, kind_of
from genzoo.testing.suites import SUITES

COUNT = itertools.count()


class Notebook(Logger):
    """A logger that keeps everything in memory, which passes all checks."""

    def __init__(self, pages: int = 1) -> None:
        self.pages, self.closed = [], False

    def open(self, run):
        self.run = run

    def log(self, step, values):
        self.pages.append((step, dict(values)))

    def picture(self, step, file):
        self.pages.append((step, file.read_bytes()))

    def close(self, status):
        self.closed = True


class RoundsValues(Notebook):
    def log(self, step, values):
        self.pages.append([int(value) for value in values.values()])


class StartsAtZero(Notebook):
    def log(self, step, values):
        if not self.pages and step != 10:
            raise ValueError(f"step {step} is not the first one")
        super().log(step, values)


class OnlyOnce(Notebook):
    def open(self, run):
        if self.closed:
            raise RuntimeError("it is already closed")


class NeedsAFolder(Notebook):
    def open(self, run):
        self.path = run.folder / "notebook"


class TidiesUp(Notebook):
    def picture(self, step, file):
        if file.suffix == ".png":
            file.unlink()


class Bell(Prior):
    """A normal distribution of any width, which passes all checks."""

    def __init__(self, dim: int, start: float = 0.5) -> None:
        super().__init__()
        self.dim, self.scale = dim, nn.Parameter(torch.full((dim,), start))
        self.distribution = torch.distributions.Normal

    def sample(self, n: int) -> Tensor:
        return self.scale * noise(n, self.dim, like=self.scale)

    def log_prob(self, z: Tensor) -> Tensor:
        return (-0.5 * (z / self.scale).square() - self.scale.log() - 0.5 * np.log(2 * np.pi)).sum(
            1
        )

    def truncated(self, n: int, threshold: float) -> Tensor:
        return self.sample(n).clamp(-threshold, threshold)

    @property
    def variance(self) -> Tensor:
        return self.scale**2

    def gaussians(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.scale.new_ones(1), self.scale.new_zeros(1, self.dim), self.scale[None]


class OtherDim(Bell):
    def __init__(self, dim: int) -> None:
        super().__init__(dim + 1)


class FlatDraws(Bell):
    def sample(self, n):
        return super().sample(n).flatten()


class PlainNoise(Bell):
    def sample(self, n):
        return self.scale * torch.randn(n, self.dim, dtype=self.scale.dtype)


class LogProbPerCoordinate(Bell):
    def log_prob(self, z):
        return super().log_prob(z)[:, None]


class NoConstant(Bell):
    def log_prob(self, z):
        return -0.5 * (z / self.scale).square().sum(1)


class DensityOfAnother(Bell):
    def log_prob(self, z):
        return super().log_prob(z - 0.3)


class TailsTooThick(Bell):
    """A density with correct mass and means but a wrong variance."""

    def log_prob(self, z):
        return super().log_prob(z / 2) - self.dim * np.log(2)


class StatesItsDeviation(Bell):
    @property
    def variance(self):
        return self.scale


class WeightsOfTwo(Bell):
    def strata(self, n):
        z, weights = super().strata(n)
        return z, 2 * weights


class StrataOfAnother(Bell):
    def strata(self, n):
        return self.sample(n)[None] + 1, self.scale.new_ones(1)


class TruncatesAllToOne(Bell):
    def truncated(self, n, threshold):
        return super().truncated(1, threshold)[0]


class GaussiansOfVariances(Bell):
    def gaussians(self):
        weights, means, scales = super().gaussians()
        return weights, means, scales**2


class Moments(SampleDivergence):
    """The squared difference of means and variances, which passes all checks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(()) + 1)

    def forward(self, z: Tensor, prior: Prior) -> Tensor:
        return self.weight * (z.mean(0).square().sum() + (z.var(0) - prior.variance).square().sum())


class Powers(SampleDivergence):
    """The difference of means of powers, with an additional parameter."""

    def forward(self, x: Tensor, y: Tensor | Prior, p: float = 1.0) -> Tensor:
        z = y.sample(len(x)) if isinstance(y, Prior) else y
        return (x.mean(0) - z.mean(0)).abs().pow(p).sum() + (x.var(0) - z.var(0)).abs().sum()


class DeclaresNothing(Divergence):
    def forward(self, x, y):
        return (x - y.sample(len(x))).square().mean()


class PerCoordinate(Moments):
    def forward(self, z, prior):
        return z.mean(0).square() + super().forward(z, prior)


class NoPull(Moments):
    def forward(self, z, prior):
        return super().forward(z.detach(), prior)


class Nearness(Moments):
    def forward(self, z, prior):
        return -super().forward(z, prior)


class NormalOnly(Moments):
    def forward(self, z, prior):
        return super().forward(z, prior) + 0 * prior.scale


class Weighted(KL):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(()) + 1)

    def forward(self, q, prior, z=None):
        return self.weight * super().forward(q, prior, z)


class SummedOverTheBatch(Weighted):
    def forward(self, q, prior, z=None):
        return super().forward(q, prior, z).sum()


class IgnoresTheScale(Weighted):
    def forward(self, q, prior, z=None):
        return q.mean.square().sum(1)


class NeverZero(Weighted):
    def forward(self, q, prior, z=None):
        return -super().forward(q, prior, z)


class NormalDistributionsOnly(Weighted):
    def forward(self, q, prior, z=None):
        return super().forward(q, prior, z) + 0 * prior.scale


class Flat(R1):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(()) + 1)

    def forward(self, critic, real, fake):
        return self.weight * super().forward(critic, real, fake)


class PerExample(Flat):
    def forward(self, critic, real, fake):
        return super().forward(critic, real, fake).expand(len(real))


class OfADetachedCritic(Flat):
    def forward(self, critic, real, fake):
        return super().forward(critic, real, fake).detach() * self.weight


class OverTheBatch(Flat):
    def forward(self, critic, real, fake):
        return super().forward(critic, real, fake) * len(real)


class Layer(Encoder):
    """A smooth layer, which passes all checks."""

    def __init__(self, shape: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.shape, self.dim = shape, dim
        self.linear = nn.Linear(int(np.prod(shape)), dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)).tanh()


class OtherFeatures(Layer):
    def __init__(self, shape: tuple[int, ...], dim: int) -> None:
        super().__init__(shape, dim)
        self.dim = dim + 1


class Column(Layer):
    def forward(self, x):
        return super().forward(x)[:, :, None]


class Unused(Layer):
    def __init__(self, shape: tuple[int, ...], dim: int) -> None:
        super().__init__(shape, dim)
        self.spare = nn.Linear(2, 2)


class IgnoresTheData(Layer):
    def forward(self, x):
        return super().forward(x.detach())


class Centered(Layer):
    def forward(self, x):
        return super().forward(x) - super().forward(x).mean(0)


class Normed(Layer):
    def __init__(self, shape: tuple[int, ...], dim: int) -> None:
        super().__init__(shape, dim)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x):
        return self.norm(super().forward(x))


class Gray(Translator):
    """A translator of images to images of any channels, which passes all checks."""

    def __init__(self, given_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.given_shape, self.shape = given_shape, shape
        self.net = nn.Conv2d(given_shape[0], shape[0], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class KeepsTheShape(Gray):
    def forward(self, x):
        return self.net(x).mean(1, keepdim=True).expand(-1, self.given_shape[0], -1, -1)


def good(rows: int = 40) -> Dataset:
    x = np.arange(rows * 64, dtype=np.uint8).reshape(rows, 1, 8, 8)
    return Dataset({"x": x[10:]}, {"x": x[:10]}, name="good")


def not_a_dataset() -> dict:
    return {"x": torch.rand(20, 3)}


def integer_images() -> Dataset:
    return Dataset({"x": torch.arange(20 * 64).reshape(20, 1, 8, 8)})


def strings_held_out() -> Dataset:
    return Dataset({"x": torch.rand(20, 3)}, {"x": torch.rand(2, 3), "word": np.array(["a", "b"])})


def new_rows_at_each_call() -> Dataset:
    return Dataset({"x": torch.rand(20, 3)})


def longer_at_each_call() -> Dataset:
    return Dataset({"x": torch.zeros(20 + next(COUNT), 3)})


class ClaimsTooMuch(Metric):
    """It declares a sanity check that a constant does not pass."""

    passes = {"constant": ("mean shift",)}

    def __call__(self, evidence):
        yield Measurement(quantity="constant", value=1.0, n=evidence.n, higher_is_better=False)


class Size(Metric):
    """The mean square of reconstructions, which passes all checks."""

    needs = ("reconstruct",)

    def value(self, evidence):
        x = [evidence.model.reconstruct(x) for x in evidence.examples("test")]
        return torch.cat(x).square().mean().item()

    def __call__(self, evidence):
        yield Measurement(quantity="size", value=self.value(evidence), n=evidence.n)


class NeedsIsAString(Size):
    needs = "reconstruct"


class LacksNothing(Size):
    def lacking(self, model):
        return []


class AsksForMore(Size):
    def lacking(self, model):
        return [*super().lacking(model), *model.prior.lacking]


class ReturnsATensor(Size):
    def value(self, evidence):
        return torch.tensor(super().value(evidence))


class ReturnsNaN(Size):
    def value(self, evidence):
        return float("nan")


class ReturnsAMapping(Size):
    def __call__(self, evidence):
        return {"size": self.value(evidence)}


class ReturnsNothing(Size):
    def __call__(self, evidence):
        return ()


class RepeatsAName(Size):
    def __call__(self, evidence):
        return [*super().__call__(evidence), *super().__call__(evidence)]


class HasANegativeError(Size):
    def __call__(self, evidence):
        yield Measurement(quantity="size", value=1.0, standard_error=-1.0, n=evidence.n)


class RandomMetric(Size):
    def value(self, evidence):
        return random.random()


class CountsDraws(Size):
    """Its value depends on the samples that other metrics asked for."""

    needs = ("sample",)

    def value(self, evidence):
        return float("samples" in evidence._cache)


class TrainsTheModel(Size):
    def value(self, evidence):
        evidence.model.train()
        return super().value(evidence)


class ScalesTheModel(Size):
    def value(self, evidence):
        next(evidence.model.parameters()).data *= 2
        return super().value(evidence)


class RowSums(FeatureNetwork):
    """The sums of rows, which pass all checks."""

    version = "row-sums-v1"

    def __init__(self, shape):
        super().__init__(shape, shape[-2])

    def forward(self, x):
        return x.sum(dim=(1, -1)) if x.dim() == 4 else x.sum(dim=-1)


class HasNoVersion(RowSums):
    version = ""


class HasAnotherDim(RowSums):
    def __init__(self, shape):
        super().__init__(shape)
        self.dim += 1


class HasRandomWeights(RowSums):
    def __init__(self, shape):
        super().__init__(shape)
        self.scale = torch.rand(())

    def forward(self, x):
        return self.scale * super().forward(x)


class DrawsNumbers(RowSums):
    def forward(self, x):
        torch.rand(())
        return super().forward(x)


class Learns(RowSums):
    training_rows = 10

    def fit(self, x):
        self.training_rows, self.version = 0, f"row-sums-v1 ({len(x)})"
        return ""


class LearnsAgain(Learns):
    def fit(self, x):
        super().fit(x)
        self.training_rows = 10
        return ""


class LearnsWithoutAName(Learns):
    def fit(self, x):
        self.training_rows = 0
        return ""


class LearnsAtRandom(Learns):
    def fit(self, x):
        super().fit(x)
        self.version += str(next(COUNT))
        return ""


class NormalizesOverExamples(RowSums):
    def forward(self, x):
        features = super().forward(x)
        return features - features.mean(dim=0)


def with_faults(base, method):
    """Return a class for each fault that any module may have, with the check that detects it."""
    sound = getattr(base, method)

    def variant(name, fault, **members):
        @functools.wraps(sound)
        def faulty_method(self, *arguments):
            return fault(self, sound(self, *arguments))

        return type(f"{name}{base.__name__}", (base,), {method: faulty_method, **members})

    def remember(self, *arguments, **settings):
        base.__init__(self, *arguments, **settings)
        self.hidden = torch.rand(()).item()

    def copied(self, memo):
        twin = type(self)(**settings_of(self))
        twin.load_state_dict(self.state_dict())
        twin.copied = True
        return twin

    def broken(self, result):
        print(result)
        return result

    counting = {"extra_repr": lambda self: str(next(COUNT))}
    return [
        (
            variant("Unseeded", lambda self, r: r * random.random()),
            "seeds",
            "equal seeds give different results",
        ),
        (variant("Nameless", lambda self, r: r, **counting), "config", "the rebuilt object is"),
        (
            variant("Hidden", lambda self, r: r + self.hidden, __init__=remember),
            "state_dict",
            "with the same state dict",
        ),
        (
            variant("Copied", lambda self, r: r + hasattr(self, "copied"), __deepcopy__=copied),
            "deepcopy",
            "a copy gives different",
        ),
        (variant("Single", lambda self, r: r.float()), "float64", "in float64 is torch.float32"),
        (variant("Broken", broken), "compile", "print"),
    ]


SUITE_CASES = {
    # suite: (a correct part, the method that it computes with)
    ("priors", 0): (Bell, "sample"),
    ("divergences", 0): (Flat, "forward"),
    ("divergences", 1): (Weighted, "forward"),
    ("divergences", 2): (Moments, "forward"),
    ("encoders", 0): (Layer, "forward"),
    ("translators", 0): (Gray, "forward"),
    ("datasets", 0): (good, None),
    ("metrics", 0): (Size, None),
    ("networks", 0): (RowSums, None),
    ("loggers", 0): (Notebook, None),
}
FAULTS = {
    ("priors", 0): [
        (OtherDim, "builds", "its dim is 2, not 1"),
        (FlatDraws, "sample", r"sample\(1\) has shape \(1,\), not \(1, 1\)"),
        (PlainNoise, "ranks", "two processes draw other samples than one"),
        (LogProbPerCoordinate, "log_prob", r"log_prob\(z\) is \(1, 1\) for 1 samples"),
        (NoConstant, "density", "integrates to 1.25"),
        (DensityOfAnother, "density", r"samples do not follow exp\(log_prob\)"),
        (TailsTooThick, "density", r"samples do not follow exp\(log_prob\)"),
        (StatesItsDeviation, "variance", r"variance is \[0\.5"),
        (WeightsOfTwo, "strata", "sum to 2"),
        (StrataOfAnother, "strata", "means over strata"),
        (TruncatesAllToOne, "truncated", r"truncated\(1, 0\.5\) has shape \(1,\)"),
        (GaussiansOfVariances, "gaussians", "log_prob is not the density of gaussians"),
    ],
    ("divergences", 0): [
        (
            lambda: nn.Linear(2, 2),
            "builds",
            r"Linear is not a genzoo\.contract\.SampleDivergence, .* Penalty; subclass",
        ),
        (PerExample, "penalty", r"the penalty is \(8,\), not a scalar"),
        (OfADetachedCritic, "critic_gradient", "by the critic"),
        (OverTheBatch, "batch_size", "take the mean over examples"),
    ],
    ("divergences", 1): [
        (lambda: None, "builds", "NoneType is not a genzoo"),
        (SummedOverTheBatch, "value", r"the divergence is \(\), not \(64,\)"),
        (IgnoresTheScale, "gradient", "a gradient of zero by its codes"),
        (NeverZero, "tells_apart", "for equal distributions and"),
        (NormalDistributionsOnly, "priors", "has no attribute 'scale'"),
    ],
    ("divergences", 2): [
        (lambda: None, "builds", "NoneType is not a genzoo"),
        (DeclaresNothing, "builds", "DeclaresNothing is not a genzoo"),
        (PerCoordinate, "value", r"the divergence is \(4,\), not \(\)"),
        (NoPull, "gradient", "a gradient of zero by its codes"),
        (Nearness, "tells_apart", "for equal distributions and"),
        (NormalOnly, "priors", "has no attribute 'scale'"),
    ],
    ("encoders", 0): [
        (OtherFeatures, "builds", "its dim is 6, not 5"),
        (Column, "forward", r"2 rows become \(2, 5, 1\), not \(2, 5\)"),
        (Unused, "gradients", r"spare\.weight gets no gradient"),
        (IgnoresTheData, "gradients", "the input gets no gradient"),
        (Centered, "rows", "an example depends on its neighbors"),
        (Normed, "batch_of_one", "more than 1 value"),
    ],
    ("translators", 0): [
        (
            lambda given_shape, shape: Gray(shape, shape),
            "builds",
            r"its given_shape is \(1, 8, 8\), not \(3, 8, 8\)",
        ),
        (KeepsTheShape, "forward", r"2 rows become \(2, 3, 8, 8\), not \(2, 1, 8, 8\)"),
    ],
    ("datasets", 0): [
        (not_a_dataset, "builds", r"dict is not a genzoo\.Dataset"),
        (integer_images, "batches", "as torch.int64; images are floats"),
        (strings_held_out, "held_out", "column 'word'"),
        (new_rows_at_each_call, "same_again", "column 'x' of its train split has other rows"),
    ],
    ("metrics", 0): [
        (NeedsIsAString, "builds", "needs = 'reconstruct': expected a tuple"),
        (LacksNothing, "lacking", r"a model without reconstruct lacks \[\]"),
        (AsksForMore, "lacking", "has no attribute 'prior'"),
        (ReturnsATensor, "measures", "'size' is a Tensor, not a plain number"),
        (ReturnsNaN, "measures", "'size' is nan"),
        (ReturnsAMapping, "measures", "returns str objects"),
        (ReturnsNothing, "measures", "no measurement"),
        (RepeatsAName, "measures", "several measurements have the same name"),
        (HasANegativeError, "measures", "standard_error of 'size' is -1.0"),
        (RandomMetric, "repeats", "with the same seed, it measures"),
        (CountsDraws, "order", "depend on which other metrics"),
        (TrainsTheModel, "leaves_the_model", "leaves the model in training mode"),
        (ScalesTheModel, "leaves_the_model", "it changes the model"),
        (ClaimsTooMuch, "sanity", r"'constant' passes the sanity checks \('identical',\)"),
    ],
    ("networks", 0): [
        (HasNoVersion, "features", "version = ''"),
        (HasAnotherDim, "features", r"features have the shape \(4, 8\), not \(4, 9\)"),
        (HasRandomWeights, "fixed", "features depend on the random state"),
        (DrawsNumbers, "fixed", "it draws random numbers"),
        (NormalizesOverExamples, "rows", "features depend on the other examples"),
        (LearnsAgain, "fit", "after fit, training_rows = 10, not 0"),
        (LearnsWithoutAName, "fit", "is 'row-sums-v1' before and after fit"),
        (LearnsAtRandom, "fit", "equal examples give different versions"),
        *(fault for fault in with_faults(RowSums, "forward") if fault[1] in ("config", "deepcopy")),
    ],
    ("loggers", 0): [
        (lambda: print, "builds", r"builtin_function_or_method is not a genzoo\.contract\.Logger"),
        (RoundsValues, "run", "cannot convert float NaN to integer"),
        (StartsAtZero, "resume", "step 30 is not the first one"),
        (OnlyOnce, "again", "already closed"),
        (NeedsAFolder, "without_folder", "NoneType"),
        (TidiesUp, "files", r"it changes or removes samples.step-000010\.png of the run"),
    ],
}
for suite_case, (sound, method) in SUITE_CASES.items():
    FAULTS[suite_case] += with_faults(sound, method) if method else []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "part"), [(kind, sound) for (kind, _), (sound, _) in SUITE_CASES.items()]
)
def test_a_correct_part_passes(kind, part):
    results = [(one.result(), one) for one in checks(part, kind)]
    assert [str(result) for result, _ in results if not result.ok] == []
    # of a dataset or logger without a name, and of a metric that declares no sanity checks
    assert {one.name for result, one in results if result.skipped} <= {"config", "sanity"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "part", "name", "reason"),
    [
        pytest.param(kind, *fault, id=f"{kind}-{fault[1]}-{fault[2]}")
        for (kind, _), faults in FAULTS.items()
        for fault in faults
    ],
)
def test_a_fault_is_detected(kind, part, name, reason):
    """The check fails for at least one of the shapes."""
    results = [one.result() for one in checks(part, kind) if one.name == name]
    failed = [result.reason for result in results if not result.ok]
    assert failed, [str(result) for result in results]
    assert any(re.search(reason, text) for text in failed), failed


def test_a_network_that_learns_passes():
    assert all(result.ok for result in check(Learns, "networks"))


@pytest.mark.parametrize("suite_case", SUITE_CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_every_check_detects_a_fault(suite_case):
    kind, number = suite_case
    detected = {name for _, name, _ in FAULTS[suite_case]}
    if kind == "translators":  # share the checks of encoders
        detected |= {name for _, name, _ in FAULTS["encoders", 0]}
    if kind in ("datasets", "loggers"):  # tested below, because this check needs a name
        detected |= {"config"}
    assert SUITES[kind][number].names - {"device"} == detected


def test_every_suite_has_a_correct_part_or_reuses_the_checks_of_another():
    seen = {(kind, number) for kind, suites in SUITES.items() for number, _ in enumerate(suites)}
    tested_elsewhere = {("models", 0), ("weights", 0)}
    assert seen - set(SUITE_CASES) == {("decoders", 0), ("critics", 0)} | tested_elsewhere
    assert (
        SUITES["decoders"][0].always == SUITES["critics"][0].always == SUITES["encoders"][0].always
    )


class RegisteredAs:
    """A context in which a name is registered."""

    def __init__(self, kind, name, entry):
        self.kind, self.name, self.entry = kind, name, entry

    def __enter__(self):
        getattr(genzoo, self.kind).register(self.name, self.entry)

    def __exit__(self, *_):
        genzoo.registry.lookup.registries[self.kind].unregister(self.name)


def test_the_config_of_a_dataset_is_checked():
    with RegisteredAs("datasets", "test-good", good):
        assert all(result.ok and not result.skipped for result in check("test-good", rows=30))
    with RegisteredAs("datasets", "test-longer", longer_at_each_call):
        (result,) = (one.result() for one in checks("test-longer") if one.name == "config")
        assert not result.ok
        assert "the dataset rebuilt from {'name': 'test-longer'} has" in result.reason


def test_the_config_of_a_logger_is_checked():
    with RegisteredAs("loggers", "test-notebook", Notebook):
        assert all(result.ok and not result.skipped for result in check("test-notebook", pages=3))
    kinds = itertools.cycle([Notebook, OnlyOnce])
    with RegisteredAs("loggers", "test-alternating", lambda: next(kinds)()):
        (result,) = (one.result() for one in checks("test-alternating") if one.name == "config")
        assert not result.ok
        assert "the logger rebuilt from {'name': 'test-alternating'} is a" in result.reason


def test_a_logger_whose_package_is_missing_is_skipped():
    class NeedsAPackage(Notebook):
        def open(self, run):
            raise ImportError("it needs no-such-tracker")

    results = check(NeedsAPackage)
    assert {result.reason for result in results if result.check in ("run", "resume", "again")} == {
        "it needs no-such-tracker"
    }


def test_missing_data_skip_and_invalid_data_fail():
    def missing():
        raise MissingDataError("the files are on the other machine; fetch them")

    def bright():
        return Dataset({"x": torch.full((20, 1, 8, 8), 2.0)})

    (skipped,) = check(missing, "datasets")
    assert str(skipped) == "skip builds: the files are on the other machine; fetch them"
    (one,) = checks(missing, "datasets")
    with pytest.raises(SkipTest, match="on the other machine"):
        one()
    with pytest.raises(ConformanceError, match="images are floats in"):
        check(bright, "datasets")


def test_a_skip_is_not_an_expected_failure():
    def no_rest():
        return Dataset({"x": torch.zeros(20, 3)})

    results = {
        result.check: result
        for result in check(no_rest, "datasets", expected_failures={"held_out": "there is no rest"})
    }
    assert str(results["held_out"]) == "skip held_out: it has no held-out rows"


@pytest.mark.slow
def test_a_metric_that_no_model_supports_is_skipped_with_its_needs():
    class NeedsAnUnknownMethod(Size):
        needs = ("levitate",)

    results = {result.check: result for result in check(NeedsAnUnknownMethod, "metrics")}
    assert results["measures"].reason == "no registered model has levitate"
    assert results["lacking"].ok
    assert not results["lacking"].skipped


def test_a_metric_gets_the_columns_that_it_reads():
    class Gap(Metric):
        needs = ("reconstruct",)
        reads = ("truth",)

        def __call__(self, evidence):
            reconstruct = evidence.model.reconstruct
            gap = sum(
                (reconstruct(b["x"]) - b["truth"]).square().mean().item()
                for b in evidence.batches()
            )
            yield Measurement(quantity="gap", value=gap, n=evidence.n)

    results = check(Gap)
    assert all(result.ok for result in results)
    assert [result.check for result in results if result.skipped] == ["sanity"]


def test_the_kind_is_inferred_if_it_is_unique():
    for part, kind in [
        ("mmd", "divergences"),
        ({"name": "mog", "components": 3}, "priors"),
        ("vae", "models"),
        ("no-such-name", "models"),
        (Bell, "priors"),
        (Flat, "divergences"),
        (DeclaresNothing, "divergences"),
        (MLPDecoder, "decoders"),
        (MLPCritic, "critics"),
        (Gray, "translators"),
        (Size, "metrics"),
        (RowSums, "networks"),
        (Notebook, "loggers"),
        (Bell(3), "priors"),
        (good(), "datasets"),
        (lambda shape: None, "models"),
    ]:
        assert kind_of(part) == kind
    with pytest.raises(
        SettingError,
        match="'mlp' is a name of encoders and decoders and critics; choose the kind",
    ):
        checks("mlp")


def test_shapes_come_from_the_class_by_default():
    class Twos(Bell):
        example_shapes = ((2,),)

    assert {str(one).rpartition("-")[2] for one in checks(Twos)} == {"2"}
    assert {str(one).rpartition("-")[2] for one in checks(Twos, shapes=[(3,)])} == {"3"}
    assert {str(one).rpartition("-")[2] for one in checks(Bell)} == {"1", "4"}
    assert {one.subject().shape for one in checks(MLPEncoder, shapes=[(7,)], hidden=(3,))} == {(7,)}


def test_an_expected_failure_may_apply_to_one_shape():
    class OddOnly(Bell):
        def sample(self, n):
            return super().sample(n) if self.dim % 2 else super().sample(n).flatten()

    failing = {
        one.check: "flat" for one in (each.result() for each in checks(OddOnly)) if not one.ok
    }
    assert {name.rpartition("-")[2] for name in failing} == {"4"}
    results = check(OddOnly, expected_failures=failing)
    assert Counter(bool(result.reason) for result in results)[True] == len(failing)
    with pytest.raises(
        SettingError,
        match=r"expects a failure of 'smaple-4', which is not a check\. Did you mean 'sample'",
    ):
        checks(OddOnly, expected_failures={"smaple-4": "a slip"})


def test_an_instance_is_not_changed():
    prior = Bell(3)
    before = prior.scale.detach().clone()
    assert {str(one).rpartition("-")[2] for one in checks(prior)} == {"3"}
    assert all(result.ok for result in check(prior))
    assert torch.equal(prior.scale, before)
    with pytest.raises(SettingError, match="is an instance, of sizes that are not the suite's"):
        checks(MLPEncoder((3,), 2))


def test_a_part_that_cannot_be_built_has_one_failing_check_per_shape():
    (first, second) = checks({"name": "mog", "components": "many"}, "priors")
    assert (str(first), str(second)) == ("builds-1", "builds-4")
    with pytest.raises(SettingError, match=r"prior\.components = \"many\": expected an integer"):
        first()


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        SettingError, match=r"No kind of thing named 'modles'\. Did you mean 'models'"
    ):
        checks("vae", "modles")


def test_the_class_distinguishes_a_penalty_from_a_divergence():
    class Own(Penalty):
        def forward(self, critic, real, fake):
            return critic(real).square().mean()

    assert "batch_size" in {one.name for one in checks(Own)}
    assert "tells_apart" in {one.name for one in checks(Moments)}


@pytest.mark.slow
def test_a_sample_divergence_may_have_more_parameters():
    """Its base class declares what it compares, not the number of parameters of `forward`."""
    results = check(Powers)
    assert len(results) == 22
    assert not any(result.reason for result in results)
    wae = WAEMMD(2, divergence=Powers(), shape=(5,))
    assert wae.loss(torch.rand(7, 5))["mmd"] > 0
    with pytest.raises(SettingError, match="divergence = Powers does not compare distributions"):
        VAE(2, divergence=Powers(), shape=(5,))
