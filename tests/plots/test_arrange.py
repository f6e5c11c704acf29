"""The order of images on a sheet."""

import pytest
import torch

from genzoo.plots.arrange import columns_for, side_by_side


def test_images_side_by_side_share_their_channels():
    gray, color = torch.rand(2, 1, 3, 3), torch.rand(2, 3, 3, 3)
    tiles = side_by_side(gray, color)
    assert tiles.shape == (4, 3, 3, 3)
    assert torch.equal(tiles[2], gray[1].expand(3, 3, 3))
    assert torch.equal(tiles[3], color[1])


@pytest.mark.parametrize(("n", "side", "columns"), [(1, 3, 3), (5, 3, 6), (24, 3, 9), (64, 2, 12)])
def test_groups_stay_together(n, side, columns):
    assert columns_for(n, side) == columns
    assert columns % side == 0
