"""Encoders, decoders, critics, and layers, shared by all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry.lazy import lazy_names

if TYPE_CHECKING:
    from genzoo.blocks.conv import ConvCritic, ConvDecoder, ConvEncoder
    from genzoo.blocks.masked import CausalConv, MaskedLinear, color_groups
    from genzoo.blocks.mlp import MLPCritic, MLPDecoder, MLPEncoder
    from genzoo.blocks.nade import recursion
    from genzoo.blocks.norm import ShiftedSoftplus
    from genzoo.blocks.pixel import ConvLayer, DiagonalBiLSTM, PixelLayer, RowLSTM
    from genzoo.blocks.recurrent import Fronts, diagonals, rows, scan
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "genzoo.blocks.conv": ("ConvCritic", "ConvDecoder", "ConvEncoder"),
            "genzoo.blocks.masked": ("CausalConv", "MaskedLinear", "color_groups"),
            "genzoo.blocks.mlp": ("MLPCritic", "MLPDecoder", "MLPEncoder"),
            "genzoo.blocks.nade": ("recursion",),
            "genzoo.blocks.norm": ("ShiftedSoftplus",),
            "genzoo.blocks.pixel": ("ConvLayer", "DiagonalBiLSTM", "PixelLayer", "RowLSTM"),
            "genzoo.blocks.recurrent": ("Fronts", "diagonals", "rows", "scan"),
        },
    )

__all__ = [
    "CausalConv",
    "ConvCritic",
    "ConvDecoder",
    "ConvEncoder",
    "ConvLayer",
    "DiagonalBiLSTM",
    "Fronts",
    "MLPCritic",
    "MLPDecoder",
    "MLPEncoder",
    "MaskedLinear",
    "PixelLayer",
    "RowLSTM",
    "ShiftedSoftplus",
    "color_groups",
    "diagonals",
    "recursion",
    "rows",
    "scan",
]
