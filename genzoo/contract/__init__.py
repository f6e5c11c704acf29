"""The contract of each registered kind, with shapes and units. Plugins import from here."""

from genzoo.contract.dataset import Dataset, Shape, is_image
from genzoo.contract.judging import Metric
from genzoo.contract.model import Batch, Model, generated_columns
from genzoo.contract.parts import (
    Configurable,
    Count,
    Critic,
    Decoder,
    DistributionDivergence,
    Divergence,
    Encoder,
    NonNegativeFloat,
    Part,
    Penalty,
    Positive,
    PositiveFloat,
    Prior,
    SampleDivergence,
    Translator,
)
from genzoo.contract.player import Player
from genzoo.registry.plugins import CONTRACT_VERSION as VERSION

__all__ = [
    "VERSION",
    "Batch",
    "Configurable",
    "Count",
    "Critic",
    "Dataset",
    "Decoder",
    "DistributionDivergence",
    "Divergence",
    "Encoder",
    "Metric",
    "Model",
    "NonNegativeFloat",
    "Part",
    "Penalty",
    "Player",
    "Positive",
    "PositiveFloat",
    "Prior",
    "SampleDivergence",
    "Shape",
    "Translator",
    "generated_columns",
    "is_image",
]
