"""The layers of a PixelRNN, which process whole images at once or step from pixel to pixel.

A layer maps 2h features to 2h features. No output sees a later pixel, or a later color of the same
pixel.

References:
    Pixel Recurrent Neural Networks, van den Oord, Kalchbrenner and Kavukcuoglu, 2016,
        https://arxiv.org/abs/1601.06759
"""

from genzoo.blocks.pixel.conv import ConvLayer
from genzoo.blocks.pixel.diagonal import DiagonalBiLSTM
from genzoo.blocks.pixel.layer import PixelLayer
from genzoo.blocks.pixel.row import RowLSTM

__all__ = ["ConvLayer", "DiagonalBiLSTM", "PixelLayer", "RowLSTM"]
