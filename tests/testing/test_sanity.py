"""The sanity checks, for metrics whose answers are known."""

import pytest
import torch

import genzoo
from genzoo.contract import Measurement, Metric
from genzoo.registry.lookup import registry
from genzoo.testing import SANITY, check, passed_checks


class Mean(Metric):
    """The distance between the means, which sees nothing else."""

    needs = ("sample",)
    passes = {
        "distance": (
            "identical", "mean shift", "mode drop", "mode invention",
            "outlier in data", "outlier in samples",  # each moves the mean by 0.4, a shift by 4
        )
    }  # fmt: skip

    def __call__(self, evidence):
        x = torch.cat(list(evidence.examples("test")))
        gap = (evidence.samples.mean(0) - x.mean(0)).norm().item()
        yield Measurement(quantity="distance", value=gap, n=len(x), higher_is_better=False)
        yield Measurement(quantity="without direction", value=gap, n=len(x))


class Constant(Mean):
    passes = {"distance": ("identical",)}

    def __call__(self, evidence):
        yield Measurement(quantity="distance", value=1.0, n=9, higher_is_better=True)


class Boastful(Constant):
    passes = {"distance": ("identical", "mode drop")}


class Modest(Mean):
    passes = {"distance": ("identical", "mean shift")}


class Misspelled(Mean):
    passes = {"distance": ("mean shfit",)}


def test_a_distance_of_means_does_not_see_repeated_samples():
    assert passed_checks(Mean()) == Mean.passes


def test_a_constant_passes_what_forbids_a_change():
    assert passed_checks(Constant()) == {"distance": ("identical",)}


@pytest.mark.parametrize("metric", [Mean, Constant])
def test_exact_declarations_pass(metric):
    results = {result.check: result for result in check(metric, "metrics")}
    assert results["sanity"].ok
    assert not results["sanity"].skipped


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (Boastful, r"'distance' passes the sanity checks \('identical',\), but declares"),
        (Modest, r"'mode invention', .*\), but declares \('identical', 'mean shift'\)"),
        (Misspelled, r"names \['mean shfit'\]; the checks are identical, mean shift"),
    ],
)
def test_wrong_declarations_fail(metric, words):
    with pytest.raises(AssertionError, match=words):
        check(metric, "metrics")


@pytest.mark.parametrize(
    "name",
    ["frechet", "kernel-distance", "sliced-wasserstein", "precision-recall", "two-sample"],
)
def test_metrics_of_features_declare_their_checks(name):
    metric = registry("metrics").get(name)
    assert metric.passes
    assert all(set(names) <= set(SANITY) for names in metric.passes.values())


def test_a_metric_without_a_declaration_is_skipped():
    assert genzoo.build("texture", "metrics").passes is None
    results = {result.check: result for result in check("texture", "metrics")}
    assert results["sanity"].skipped
