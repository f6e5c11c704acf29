import math

import pytest
import torch

from genzoo.errors import SettingError
from genzoo.priors.layouts import grid, ring, simplex, spread


def distances(points):
    return torch.pdist(points)


@pytest.mark.parametrize(("points", "dim"), [(2, 1), (2, 5), (3, 2), (9, 8), (5, 8)])
def test_a_simplex_is_centered_and_regular_with_radius_one(points, dim):
    z = simplex(points, dim)
    assert z.shape == (points, dim)
    torch.testing.assert_close(z.sum(dim=0), torch.zeros(dim).double())
    torch.testing.assert_close(z.norm(dim=1), torch.ones(points).double())
    torch.testing.assert_close(
        distances(z), torch.full_like(distances(z), math.sqrt(2 * points / (points - 1)))
    )


def test_a_simplex_of_one_point_is_the_origin():
    assert simplex(1, 3).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("dim", [2, 5])
def test_a_ring_is_a_regular_polygon(dim):
    z = ring(8, dim)
    torch.testing.assert_close(
        (z - z.roll(1, 0)).norm(dim=1), torch.full((8,), 2 * math.sin(math.pi / 8)).double()
    )
    assert not z[:, 2:].any()


def test_a_grid_is_square_and_centered():
    assert grid(3, 1).tolist() == [[-1.0], [0.0], [1.0]]
    z = grid(25, 3)
    assert len({tuple(row) for row in z.tolist()}) == 25
    assert distances(z).min() == 0.5
    assert not z[:, 2:].any()
    assert grid(1, 2).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("points", "dim", "nearest"),
    [
        (4, 3, math.sqrt(8 / 3)),
        (6, 3, math.sqrt(2)),
        (12, 3, 1 / math.sin(2 * math.pi / 5)),
        (8, 2, 2 * math.sin(math.pi / 8)),
        (5, 1, 0.5),
    ],
)  # tetrahedron, octahedron, icosahedron, octagon, line
def test_spread_finds_the_best_known_arrangements(points, dim, nearest):
    assert float(distances(spread(points, dim)).min()) == pytest.approx(nearest, abs=1e-4)


def test_spread_beats_random_directions_and_is_deterministic():
    z = spread(10, 8)  # the optimum for dim + 2 to 2 dim points is the root of 2
    assert 1.35 < float(distances(z).min()) <= math.sqrt(2)
    assert torch.equal(z, spread(10, 8))


def test_spread_works_for_many_points():
    z = spread(500, 8)
    start = torch.nn.functional.normalize(torch.randn(500, 8).double())
    torch.testing.assert_close(z.norm(dim=1), torch.ones(500).double())
    assert distances(z).min() > 2 * distances(start).min()
    assert torch.equal(z, spread(500, 8))


def test_impossible_layouts_are_refused_with_a_fix():
    with pytest.raises(
        SettingError, match=r"room for dim \+ 1 = 9 components, but components = 10"
    ):
        simplex(10, 8)
    with pytest.raises(SettingError, match="components = 10; take 9 or 16"):
        grid(10, 2)
    with pytest.raises(SettingError, match="dim = 1"):
        ring(3, 1)
