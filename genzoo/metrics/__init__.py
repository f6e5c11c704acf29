"""The metrics: measurements of a trained model.

`register` adds one, `available` lists the names, and `get` imports one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names
from genzoo.registry.lookup import Registry, registries

if TYPE_CHECKING:
    from genzoo.contract import Metric
    from genzoo.metrics.annealing import AIS, ais_lower_bound, ais_upper_bound
    from genzoo.metrics.class_consistency import ClassConsistency
    from genzoo.metrics.codes import Codes
    from genzoo.metrics.comparison import Comparison
    from genzoo.metrics.elbo_surgery import ElboSurgery, aggregate_log_prob
    from genzoo.metrics.estimates import Estimate
    from genzoo.metrics.evidence import Evidence
    from genzoo.metrics.features import FeatureStatistics, default_network, extract_features
    from genzoo.metrics.frechet import (
        Frechet,
        debiased_frechet_distance,
        frechet_bias,
        frechet_distance,
        frechet_standard_error,
    )
    from genzoo.metrics.groups import Group, Summary
    from genzoo.metrics.kernel import KernelDistance, kernel_distance, kernel_permutation_test
    from genzoo.metrics.likelihood import Likelihood
    from genzoo.metrics.memorization import (
        Memorization,
        MemorizationResult,
        measure_memorization,
        nearest_neighbors,
    )
    from genzoo.metrics.mixture_usage import MixtureUsage
    from genzoo.metrics.modes import Modes
    from genzoo.metrics.neighbors import PrecisionRecall, coverage_null, fidelity_and_diversity
    from genzoo.metrics.networks.classifiers import DigitsCNN, FashionCNN
    from genzoo.metrics.networks.dinov2 import DINOv2
    from genzoo.metrics.networks.fixed import Pixels, RandomConv
    from genzoo.metrics.networks.inception import Inception
    from genzoo.metrics.networks.self_trained import SelfTrained
    from genzoo.metrics.onnx_generator import OnnxGenerator
    from genzoo.metrics.outliers.auroc import Auroc, auroc
    from genzoo.metrics.outliers.background import Background, png_bits
    from genzoo.metrics.outliers.result import OutlierRow, OutlierScores
    from genzoo.metrics.reconstruction import Reconstruction
    from genzoo.metrics.report import Evaluation
    from genzoo.metrics.samples import Samples
    from genzoo.metrics.sharpness import Sharpness, laplacian_variance
    from genzoo.metrics.sliced import SlicedWasserstein, sliced_wasserstein
    from genzoo.metrics.texture import Texture, high_frequency_power
    from genzoo.metrics.two_sample import (
        ClassifierTest,
        TwoSample,
        classifier_two_sample_test,
        wilson_interval,
    )
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.metrics.annealing": ("AIS", "ais_lower_bound", "ais_upper_bound"),
            "genzoo.metrics.class_consistency": ("ClassConsistency",),
            "genzoo.metrics.codes": ("Codes",),
            "genzoo.metrics.comparison": ("Comparison",),
            "genzoo.metrics.elbo_surgery": ("ElboSurgery", "aggregate_log_prob"),
            "genzoo.metrics.estimates": ("Estimate",),
            "genzoo.metrics.evidence": ("Evidence",),
            "genzoo.metrics.features": (
                "FeatureStatistics",
                "default_network",
                "extract_features",
            ),
            "genzoo.metrics.frechet": (
                "Frechet",
                "debiased_frechet_distance",
                "frechet_bias",
                "frechet_distance",
                "frechet_standard_error",
            ),
            "genzoo.metrics.groups": ("Group", "Summary"),
            "genzoo.metrics.kernel": (
                "KernelDistance",
                "kernel_distance",
                "kernel_permutation_test",
            ),
            "genzoo.metrics.likelihood": ("Likelihood",),
            "genzoo.metrics.memorization": (
                "MemorizationResult",
                "Memorization",
                "measure_memorization",
                "nearest_neighbors",
            ),
            "genzoo.metrics.mixture_usage": ("MixtureUsage",),
            "genzoo.metrics.modes": ("Modes",),
            "genzoo.metrics.neighbors": (
                "PrecisionRecall",
                "coverage_null",
                "fidelity_and_diversity",
            ),
            "genzoo.metrics.networks.classifiers": ("DigitsCNN", "FashionCNN"),
            "genzoo.metrics.networks.dinov2": ("DINOv2",),
            "genzoo.metrics.networks.fixed": ("Pixels", "RandomConv"),
            "genzoo.metrics.networks.inception": ("Inception",),
            "genzoo.metrics.networks.self_trained": ("SelfTrained",),
            "genzoo.metrics.outliers.auroc": ("Auroc", "auroc"),
            "genzoo.metrics.outliers.background": ("Background", "png_bits"),
            "genzoo.metrics.outliers.result": ("OutlierRow", "OutlierScores"),
            "genzoo.metrics.reconstruction": ("Reconstruction",),
            "genzoo.metrics.report": ("Evaluation",),
            "genzoo.metrics.onnx_generator": ("OnnxGenerator",),
            "genzoo.metrics.samples": ("Samples",),
            "genzoo.metrics.sharpness": ("Sharpness", "laplacian_variance"),
            "genzoo.metrics.sliced": (
                "SlicedWasserstein",
                "sliced_wasserstein",
            ),
            "genzoo.metrics.texture": ("Texture", "high_frequency_power"),
            "genzoo.metrics.two_sample": (
                "TwoSample",
                "ClassifierTest",
                "classifier_two_sample_test",
                "wilson_interval",
            ),
        },
    )

_registry: Registry[Metric] = registries["metrics"]
register = _registry.register
available = _registry.available
get = _registry.get

__all__ = [
    "AIS",
    "Auroc",
    "Background",
    "ClassConsistency",
    "ClassifierTest",
    "Codes",
    "Comparison",
    "DINOv2",
    "DigitsCNN",
    "ElboSurgery",
    "Estimate",
    "Evaluation",
    "Evidence",
    "FashionCNN",
    "FeatureStatistics",
    "Frechet",
    "Group",
    "Inception",
    "KernelDistance",
    "Likelihood",
    "Memorization",
    "MemorizationResult",
    "MixtureUsage",
    "Modes",
    "OnnxGenerator",
    "OutlierRow",
    "OutlierScores",
    "Pixels",
    "PrecisionRecall",
    "RandomConv",
    "Reconstruction",
    "Samples",
    "SelfTrained",
    "Sharpness",
    "SlicedWasserstein",
    "Summary",
    "Texture",
    "TwoSample",
    "aggregate_log_prob",
    "ais_lower_bound",
    "ais_upper_bound",
    "auroc",
    "available",
    "classifier_two_sample_test",
    "coverage_null",
    "debiased_frechet_distance",
    "default_network",
    "extract_features",
    "fidelity_and_diversity",
    "frechet_bias",
    "frechet_distance",
    "frechet_standard_error",
    "get",
    "high_frequency_power",
    "kernel_distance",
    "kernel_permutation_test",
    "laplacian_variance",
    "measure_memorization",
    "nearest_neighbors",
    "png_bits",
    "register",
    "sliced_wasserstein",
    "wilson_interval",
]
