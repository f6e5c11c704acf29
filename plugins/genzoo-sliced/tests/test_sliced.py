"""Both registered parts meet the contract, and the distance matches closed forms."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import genzoo
from genzoo import distributed
from genzoo.testing import checks


@pytest.mark.parametrize(
    "check", [*checks("swae", "models"), *checks("sliced", "divergences")], ids=str
)
def test_conforms(check):
    check()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def distance(x: Tensor, y: object, slices: int = 5000) -> float:
    return genzoo.build({"name": "sliced", "slices": slices}, "divergences")(x, y).item()


def test_the_distance_of_a_shift():
    """The projection of the shift on a direction has the mean square |shift|^2 / d."""
    x, shift = torch.randn(50, 3), torch.tensor([1.0, -2.0, 2.0])
    assert distance(x + shift, x) == pytest.approx(9 / 3, rel=0.05)
    assert distance(x, x) == 0


@pytest.mark.slow
def test_the_distance_of_two_gaussians():
    r"""Between N(m, s^2 I) and N(0, I), W2^2 along theta is (theta . m)^2 + (s - 1)^2.

    With n points, it is slightly larger.
    """
    m, s = torch.tensor([2.0, 0.0, 0.0, 0.0]), 3.0
    x = (m + s * torch.randn(20000, 4)).double()
    prior = genzoo.build("normal", "priors", dim=4).double()
    assert distance(x, prior, slices=500) == pytest.approx(4 / 4 + (s - 1) ** 2, rel=0.05)


def test_on_the_line_the_distance_is_that_of_the_best_assignment():
    x, y = torch.randn(40, 1).double(), torch.rand(40, 1).double()
    cost = (x - y.T).square().numpy()
    assert distance(x, y) == pytest.approx(cost[linear_sum_assignment(cost)].mean(), rel=1e-9)


def test_in_the_plane_the_distance_is_the_mean_over_all_directions():
    """The oracle is a quadrature over the half circle with one assignment per direction."""
    x, y = torch.randn(20, 2), torch.rand(20, 2)
    exact = []
    for angle in np.pi * (np.arange(100) + 0.5) / 100:
        theta = torch.tensor([np.cos(angle), np.sin(angle)]).float()
        cost = ((x @ theta)[:, None] - y @ theta).square().numpy()
        exact.append(cost[linear_sum_assignment(cost)].mean())
    assert distance(x, y, slices=20000) == pytest.approx(np.mean(exact), rel=0.02)


def test_the_gradient_is_that_of_matched_pairs():
    x, y = torch.randn(6, 1, requires_grad=True), torch.randn(6, 1)
    genzoo.build("sliced", "divergences")(x, y).backward()
    order = x[:, 0].argsort()
    expected = torch.empty(6)
    expected[order] = 2 * (x[order, 0] - y[:, 0].sort().values).detach() / 6
    torch.testing.assert_close(x.grad[:, 0], expected)


def test_the_autoencoder_is_a_wae_with_this_divergence():
    settings = {"latent_dim": 3, "encoder": {"name": "mlp", "hidden": (8,)}, "shape": (1, 4, 4)}
    torch.manual_seed(1)
    swae = genzoo.build({"name": "swae", **settings})
    torch.manual_seed(1)
    wae = genzoo.build({"name": "wae-mmd", "divergence": "sliced", "weight": 10.0, **settings})
    batch = torch.rand(7, 1, 4, 4)
    torch.manual_seed(2)
    actual = swae.loss(batch)
    torch.manual_seed(2)
    expected = wae.loss(batch)
    assert sorted(actual) == ["loss", "reconstruction", "sliced"]
    assert actual["loss"] == expected["loss"] == actual["reconstruction"] + 10 * actual["sliced"]


@pytest.mark.slow
def test_the_model_trains_and_is_loaded_by_name(tmp_path):
    run = genzoo.fit("swae", torch.rand(64, 1, 8, 8), tmp_path / "run", steps=3, batch_size=16)
    assert torch.equal(genzoo.load(tmp_path / "run").reference_tensor, run.model.reference_tensor)
    assert "genzoo-sliced" in (tmp_path / "run" / "recipe.toml").read_text()


def gradients(x: Tensor, rows: slice) -> list[Tensor]:
    shift = torch.zeros(2, requires_grad=True)
    torch.manual_seed(7)
    value = genzoo.build("sliced", "divergences")(
        x[rows] + shift, genzoo.build("mog", "priors", dim=2)
    )
    value.backward()
    return [value.detach(), shift.grad]


def on_rank(rank: int, folder: str, x: Tensor) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    with distributed.emulate_rank(rank, 2):
        value, grad = gradients(x, slice(3 * rank, 3 * rank + 3))
    torch.distributed.all_reduce(grad)  # the mean over ranks, as in the trainer
    torch.save([value, grad / 2], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    x = torch.randn(6, 2)
    # forks have imported torch already
    torch.multiprocessing.start_processes(
        on_rank, (str(tmp_path), x), nprocs=2, start_method="fork"
    )
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), gradients(x, slice(None)))
