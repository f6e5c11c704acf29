"""Each model in this file has one fault, and the check for this fault fails with its message."""

import copy
import random

import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo import Model, Player
from genzoo.blocks.mlp import MLPCritic
from genzoo.errors import SettingError
from genzoo.testing import ConformanceError, check_model, model_checks
from genzoo.testing.models import outputs
from genzoo.testing.subject import Subject, check_device
from genzoo.testing.suites import SUITES
from tests.toys import Bigrams, Translator

SHAPE = (1, 4, 4)


class Sound(Model):
    """A Gaussian on pixels through a sigmoid, which passes all checks."""

    can_reverse = True

    def __init__(self, scale: float = 0.5, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__()
        self.shape, self.scale = tuple(shape), scale
        self.mean = nn.Parameter(torch.randn(self.shape))
        self.given_shape = self.shape
        self.register_buffer("count", torch.zeros(()))

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        if self.training:
            self.count += 1
        noisy = batch + self.scale * torch.randn_like(batch)
        return {"loss": (noisy - self.mean.sigmoid()).square().mean(), "count": self.count}

    @torch.no_grad()
    def sample(self, n: int, given: object = None) -> Tensor:
        return (
            self.mean + self.scale * torch.randn(n, *self.shape, dtype=self.mean.dtype)
        ).sigmoid()

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        return z.unflatten(1, self.shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        return x

    def posterior(self, x: Tensor) -> torch.distributions.Distribution:
        return torch.distributions.Independent(torch.distributions.Normal(self.encode(x), 1.0), 1)

    def translate(self, x: Tensor, reverse: bool = False) -> Tensor:
        return 1 - x

    def text(self, x: Tensor) -> list[str]:
        return [str(tuple(row.shape)) for row in x]

    def score(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1)

    def bits_per_dim(self, x: Tensor) -> Tensor:
        return self.score(x)

    @torch.no_grad()
    def score_samples(self, x: Tensor) -> Tensor:
        return self.log_prob(x)

    def log_prob(self, x: Tensor) -> Tensor:
        return -x.flatten(1).sum(1)

    def elbo(self, x: Tensor) -> Tensor:
        return self.log_prob(x)

    def log_prob_bound(self, x: Tensor, samples: int = 1) -> Tensor:
        return self.log_prob(x) - 1 / samples


class WrongShape(Sound):
    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__(shape=shape[::-1])


class NoSuchState(Sound):
    training_state = ("pool",)


class ExampleOutOfRange(Sound):
    def example(self, n):
        return 2 * super().example(n)


class ExampleOfAnotherSize(Sound):
    def example(self, n):
        return super().example(n + 1)


class MissingColumn(Translator):
    def example(self, n):
        return {"x": super().example(n)["x"]}


class SampleOutOfRange(Sound):
    def sample(self, n, given=None):
        return super().sample(n).logit()


class SampleWithGradient(Sound):
    def sample(self, n, given=None):
        return (self.mean + torch.randn(n, *self.shape)).sigmoid()


class SampleChangesMode(Sound):
    def sample(self, n, given=None):
        self.eval()
        return super().sample(n)


class LossWithoutLoss(Sound):
    def loss(self, batch):
        return {"nll": super().loss(batch)["loss"]}


class LossPerExample(Sound):
    def loss(self, batch):
        return {"loss": (batch - self.mean).square().flatten(1).mean(1)}


class LossInfinite(Sound):
    def loss(self, batch):
        return {"loss": (self.mean - self.mean).sum().log()}


class LossDetached(Sound):
    def loss(self, batch):
        return {"loss": super().loss(batch)["loss"].detach()}


class LossChangesBatch(Sound):
    def loss(self, batch):
        return super().loss(batch.mul_(0.5))


class TwoParts(Sound):
    """A model with two players, the base class of faults between players."""

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__(shape=shape)
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)

    def parts(self):
        return (self, self.one), (self, self.two)

    def players(self):
        one, two = self.parts()
        return Player(name="one", owns=one[1:], loss=self.loss), Player(
            name="two", owns=two[1:], loss=self.loss
        )

    def loss(self, batch):
        x = batch.new_ones(2)
        return {"loss": (self.two(self.one(x)).sum() - self.mean.sum()).square()}


class UntrainedMean(TwoParts):
    pass


class SharedPart(TwoParts):
    def parts(self):
        return (self, self, self.one), (self, self.two, self.one)


class DuplicateNames(TwoParts):
    def players(self):
        return tuple(
            Player(name="one", owns=player.owns, loss=player.loss) for player in super().players()
        )


class ChangingNames(TwoParts):
    def players(self):
        name = str(random.random())
        return (Player(name=name, owns=(self,), loss=self.loss),)


class UnusedPart(TwoParts):
    def players(self):
        return (Player(name="all", owns=(self,), loss=self.loss),)

    def loss(self, batch):
        return {"loss": (self.one(batch.new_ones(2)) - self.mean.sum()).sum().square()}


class MovesAnotherPart(TwoParts):
    def players(self):
        def clip():
            self.two.weight.clamp_(-0.001, 0.001)

        return (
            Player(name="one", owns=(self.one,), loss=self.loss, after=clip),
            Player(name="two", owns=(self.two,), loss=self.loss),
        )


class GradientOfZero(Sound):
    def loss(self, batch):
        return {"loss": (0 * self.mean).sum() + 1}


class Unseeded(Sound):
    def loss(self, batch):
        return {"loss": super().loss(batch)["loss"] * random.random()}


class UnseededWeights(Sound):
    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__(shape=shape)
        self.mean.data += random.random()


class ForgetsASetting(Sound):
    def __init__(self, *args: float, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__(*args, shape=shape)
        self.scale = self.mean.mean().item()

    def extra_repr(self):
        return f"scale={self.scale}"


class HiddenState(Sound):
    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__(shape=shape)
        self.offset = torch.rand(())

    def loss(self, batch):
        return {"loss": super().loss(batch)["loss"] + self.offset}


class BoundToTheOriginal(Sound):
    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__(shape=shape)
        original = [self]
        self.game = lambda: (Player(name="model", owns=(original[0],), loss=original[0].loss),)

    def players(self):
        return self.game()


class NeedsABatchOf2(Sound):
    """Samples and codes need two examples, but only in training mode, as with batch norm."""

    def encode(self, x):
        if self.training and len(x) == 1:
            raise ValueError("more than one value")
        return super().encode(x)

    def sample(self, n, given=None):
        if self.training and n == 1:
            raise ValueError("more than one value")
        return super().sample(n)


class SinglePrecision(Sound):
    def loss(self, batch):
        return {"loss": super().loss(batch)["loss"].float()}


class PairsOnly(Sound):
    def loss(self, batch):
        return {
            "loss": ((batch - batch.mean(0)).square().sum(0) / (len(batch) - 1) * self.mean).sum()
        }


class GraphBreak(Sound):
    def loss(self, batch):
        loss = super().loss(batch)["loss"]
        print(loss)
        return {"loss": loss}


class CompiledDiffers(Sound):
    def loss(self, batch):
        return {"loss": super().loss(batch)["loss"] * (2 if torch.compiler.is_compiling() else 1)}


class ScalarLikelihood(Sound):
    def log_prob(self, x):
        return super().log_prob(x).sum()


class ScalarElbo(Sound):
    def elbo(self, x):
        return super().elbo(x)[:, None]


class NaNBound(Sound):
    def log_prob_bound(self, x, samples=1):
        return super().log_prob_bound(x) * float("nan")


class EncodesToADistribution(Sound):
    def encode(self, x):
        return torch.distributions.Normal(x, 1.0)


class PosteriorPerCoordinate(Sound):
    def posterior(self, x):
        return torch.distributions.Normal(self.encode(x), 1.0)


class DecodesLogits(Sound):
    def decode(self, z):
        return super().decode(z).logit()


class ReconstructsFlat(Sound):
    def reconstruct(self, x):
        return x.flatten(1)


class CompletesAnew(Sound):
    def complete(self, x, mask):
        return torch.rand_like(x)


class OneConditional(Sound):
    def conditionals(self, x):
        return torch.distributions.Normal(x.flatten(1), 1.0)


class DeclaresTruncation(Sound):
    can_truncate = True


class TranslatesOneWay(Sound):
    def translate(self, x, reverse=False):
        return x.logit() if reverse else x


class TextAsOneString(Sound):
    def text(self, x):
        return "one line"


class ScoresPatches(Sound):
    def score(self, x):
        return x.flatten(1)


class BitsOfTheBatch(Sound):
    def bits_per_dim(self, x):
        return x.sum()


class ScoresWithGradient(Sound):
    def score_samples(self, x):
        return self.log_prob(x) * self.mean.sum()


FAULTS = [
    (WrongShape, "builds", "its shape is"),
    (NoSuchState, "builds", "training_state names 'pool'"),
    (ExampleOutOfRange, "example", r"images are in \[0, 1\]"),
    (ExampleOfAnotherSize, "example", r"batch_size\(example\(1\)\) is 2"),
    (MissingColumn, "example", r"a batch has the inputs \['x', 'y'\], not \['x'\]"),
    (SampleOutOfRange, "sample", r"images are in \[0, 1\]"),
    (SampleWithGradient, "sample", "samples carry gradients"),
    (SampleChangesMode, "sample", "changes the module's mode"),
    (LossWithoutLoss, "losses", 'not a mapping with "loss"'),
    (LossPerExample, "losses", "not a scalar tensor"),
    (LossInfinite, "losses", "reports 'loss' = -inf"),
    (LossDetached, "losses", "depends on no parameter"),
    (LossChangesBatch, "losses", "changes its batch"),
    (UntrainedMean, "players", "no player moves mean"),
    (SharedPart, "players", r"players 'one' and 'two' both own"),
    (DuplicateNames, "players", "two players are named 'one'"),
    (ChangingNames, "players", "a second call"),
    (UnusedPart, "gradients", r"gives two\.bias no gradient"),
    (MovesAnotherPart, "gradients", r"'one' moves two\.weight, which it does not own"),
    (GradientOfZero, "gradients", "does not move mean"),
    (Unseeded, "seeds", "different results"),
    (UnseededWeights, "seeds", "different weights"),
    (ForgetsASetting, "config", "the rebuilt object is"),
    (HiddenState, "state_dict", "with the same state dict"),
    (BoundToTheOriginal, "deepcopy", "move the original's parameters"),
    (SinglePrecision, "float64", "is torch.float32"),
    (PairsOnly, "batch_of_one", "= nan"),
    (GraphBreak, "compile", "print"),
    (CompiledDiffers, "compile", "compiled loss of 'model' differs"),
    (ScalarLikelihood, "log_prob", r"log_prob\(x\) is \(\) for 1"),
    (ScalarElbo, "elbo", r"elbo\(x\) is \(1, 1\) for 1"),
    (NaNBound, "log_prob_bound", "is NaN"),
    (EncodesToADistribution, "encode", r"return a distribution from posterior\(x\)"),
    (PosteriorPerCoordinate, "posterior", r"log_prob\(z\) is \(1, 16\), not \(1,\)"),
    (DecodesLogits, "decode", r"images are in \[0, 1\]"),
    (ReconstructsFlat, "reconstruct", r"has shape \(1, 16\), not"),
    (CompletesAnew, "complete", "changes numbers where the mask is True"),
    (OneConditional, "conditionals", r"has batch shape \(1, 16\)"),
    (DeclaresTruncation, "sample", "unexpected keyword argument 'truncation'"),
    (TranslatesOneWay, "translate", r"translate\(x, reverse=True\) (is not finite|spans)"),
    (TextAsOneString, "text", "'one line', not a list of 1 strings"),
    (ScoresPatches, "score", r"score\(x\) is \(1, 16\) for 1"),
    (BitsOfTheBatch, "bits_per_dim", r"bits_per_dim\(x\) is \(\) for 1"),
    (ScoresWithGradient, "score_samples", "carries gradients"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [*model_checks(Sound, shapes=[SHAPE, (5,)]), *model_checks(NeedsABatchOf2, shapes=[SHAPE])],
)
def test_a_correct_model_passes(check):
    check()


class Unannotated(Sound):
    """A model without types, with another name for `self`, and with an unconverted shape."""

    def __init__(this, shape=SHAPE, scale=0.5):  # noqa: N805
        super().__init__(scale, shape)
        this.shape = shape


def test_a_model_without_annotations_passes_checks_of_its_config():
    genzoo.models.register("unannotated", Unannotated)
    try:
        for check in model_checks("unannotated", shapes=[SHAPE, (5,)]):
            if check.name in ("builds", "config", "deepcopy", "sample"):
                check()
        assert genzoo.build({"name": "unannotated", "shape": [5]}).shape == (5,)
    finally:
        genzoo.registry.lookup.registries["models"].unregister("unannotated")


@pytest.mark.parametrize(
    ("model", "name", "reason"), FAULTS, ids=lambda value: getattr(value, "__name__", None)
)
def test_a_fault_is_detected(model, name, reason):
    checks = {
        check.name: check
        for check in model_checks(
            model, shapes=[SHAPE if model is not MissingColumn else (1, 8, 8)]
        )
    }
    with pytest.raises(Exception, match=reason):
        checks[name]()


def test_every_check_detects_a_fault():
    (suite,) = SUITES["models"]
    assert suite.names - {"device"} == {name for _, name, _ in FAULTS}


def test_the_report_names_what_failed_and_why():
    with pytest.raises(ConformanceError, match="SampleOutOfRange fails 1 of ") as caught:
        check_model(SampleOutOfRange, shapes=[SHAPE])
    (failed,) = (result for result in caught.value.results if not result.ok)
    assert failed.check == "sample-1x4x4"
    assert str(failed) in str(caught.value)
    assert "images are in [0, 1]" in failed.reason


@pytest.mark.slow
def test_an_expected_failure_passes_with_its_reason():
    results = check_model(
        SampleOutOfRange, shapes=[SHAPE], expected_failures={"sample": "unbounded by design"}
    )
    assert [result.reason for result in results if result.check == "sample-1x4x4"] == [
        "expected failure: unbounded by design"
    ]


def test_a_model_may_declare_expected_failures():
    class Excused(SampleOutOfRange):
        expected_failures = {"sample": "unbounded by design"}

    assert all(result.ok for result in check_model(Excused, shapes=[SHAPE]))


def test_an_expected_failure_that_passes_is_a_failure():
    with pytest.raises(ConformanceError, match=r"was expected to fail .*unbounded.*; take it out"):
        check_model(Sound, shapes=[SHAPE], expected_failures={"sample": "unbounded by design"})


def test_an_expected_failure_of_an_unknown_check_is_refused():
    message = r"'smaple', which is not a check\. Did you mean 'sample'"
    with pytest.raises(SettingError, match=message):
        model_checks(Sound, expected_failures={"smaple": "a slip"})


@pytest.mark.parametrize("model", ["wae-mdm", lambda shape: nn.Linear(2, 2)])
def test_a_model_that_cannot_be_built_has_one_failing_check(model):
    (check,) = model_checks(model, shapes=[SHAPE])
    with pytest.raises(
        (SettingError, AssertionError), match=r"Did you mean 'wae-mmd'|is not a genzoo\.Model"
    ):
        check()


def test_only_existing_capabilities_are_tested():
    names = {check.name for check in model_checks(Bigrams, shapes=[(5, 4)])}
    assert "log_prob" in names
    assert not names & {"encode", "decode", "elbo", "posterior", "reconstruct"}


def test_an_instance_is_tested_without_being_changed():
    model = Sound(shape=(3, 2, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    results = check_model(model)
    assert {result.check.rpartition("-")[2] for result in results} == {"3x2x2"}
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    with pytest.raises(SettingError, match="is an instance, which takes no settings: scale"):
        check_model(model, scale=1.0)


@pytest.mark.slow
def test_a_part_that_is_passed_in_is_not_changed():
    critic = MLPCritic((2, 4, 4), hidden=(4,))
    before = copy.deepcopy(critic.state_dict())
    assert all(result.ok for result in check_model(Translator, shapes=[SHAPE], critic=critic))
    torch.testing.assert_close(critic.state_dict(), before, rtol=0, atol=0)


def test_settings_and_tables_reach_the_constructor():
    for model in ("sound", {"name": "sound"}):
        genzoo.models.register("sound", Sound)
        try:
            (check, *_) = model_checks(model, shapes=[(7,)], scale=0.25)
            assert check.subject().config == {"name": "sound", "scale": 0.25, "shape": (7,)}
        finally:
            genzoo.registry.lookup.registries["models"].unregister("sound")


class StaysBehind(Sound):
    def to(self, device):
        return self


def test_an_accelerator_is_tested_if_available(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert "device" in {check.name for check in model_checks(StaysBehind, shapes=[SHAPE])}


def test_results_must_be_on_the_accelerator(monkeypatch):
    subject = Subject(lambda shape: StaysBehind(shape=shape), SHAPE, outputs=outputs)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cpu"))
    check_device(subject)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    with pytest.raises(AssertionError, match=r"sample\(4\) on meta is on cpu"):
        check_device(subject)


def test_the_callers_random_state_is_not_changed():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    check_model(Sound, shapes=[SHAPE])
    assert torch.equal(torch.rand(1), expected)
