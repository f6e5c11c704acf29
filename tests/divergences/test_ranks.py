"""The statistic and its gradients on two ranks equal those on one, for the same global batch."""

import pytest
import torch

from genzoo import distributed
from genzoo.divergences.mmd import MMD
from genzoo.priors.mixture import MixtureOfGaussians
from genzoo.priors.simple import Normal

CASES = [
    ("sampled", Normal),
    ("sampled", MixtureOfGaussians),
    ("analytic", MixtureOfGaussians),
    ("sampled", torch.Tensor),
]


def gradients(x, rows, estimator, distribution):
    """Return the value and its gradients with respect to a shift of the codes and the prior."""
    prior = distribution(2) if distribution is Normal else MixtureOfGaussians(2, 3, learn=True)
    shift = torch.zeros(2, requires_grad=True)
    torch.manual_seed(7)
    y = prior.sample(len(x[rows])) if distribution is torch.Tensor else prior
    value = MMD(estimator=estimator)(x[rows] + shift, y)
    value.backward()
    results = [
        value.detach(),
        shift.grad,
        *(p.grad for p in prior.parameters() if p.grad is not None),
    ]
    return [t.clone() for t in results]


def on_rank(rank, store, x, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    for number, (estimator, distribution) in enumerate(CASES):
        with distributed.emulate_rank(rank, 2):
            values = gradients(x, slice(3 * rank, 3 * rank + 3), estimator, distribution)
        for t in values[1:]:  # the mean over ranks, as in the trainer
            torch.distributed.all_reduce(t)
            t /= 2
        torch.save(values, f"{results}/{number}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path):
    x = torch.randn(6, 2)
    # forks have imported torch already
    arguments = (tmp_path / "store", x, tmp_path)
    torch.multiprocessing.start_processes(on_rank, arguments, nprocs=2, start_method="fork")
    for number, (estimator, distribution) in enumerate(CASES):
        expected = gradients(x, slice(None), estimator, distribution)
        for rank in range(2):
            values = torch.load(tmp_path / f"{number}-{rank}.pt")
            assert len(values) == len(expected)
            for actual, wanted in zip(values, expected, strict=True):
                torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-7)
