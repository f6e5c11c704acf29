"""EoNADE against enumeration: the loss over all orders, the likelihood, and completion."""

import itertools
import math

import pytest
import torch
from torch import Tensor

import genzoo
from genzoo.distributed import emulate_rank
from genzoo.errors import SettingError
from genzoo.models.eonade import EoNADE


def wide(**settings) -> EoNADE:
    model = EoNADE(**{"hidden": (6, 5), "orderings": 3, **settings}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.8)
    return model


def every(dims: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=dims)), dtype=torch.float64)


def network(model: EoNADE, x: Tensor, known: Tensor) -> Tensor:
    """Return the output of the paper's network: a matrix for values and flags, then more layers."""
    h = torch.relu(
        torch.cat([x * known, known], 1) @ torch.cat([model.weight, model.flag_weight]) + model.bias
    )
    for layer in model.deep:
        h = torch.relu(h @ layer.weight.T + layer.bias)
    return h @ model.out_weight.T + model.out_bias


def along(model: EoNADE, x: Tensor, order) -> Tensor:
    """Return log p(x | order), with one full pass of the network per dimension."""
    total, known = torch.zeros(len(x), dtype=torch.float64), torch.zeros_like(x)
    for i in order:
        p = network(model, x, known)[:, i].sigmoid()
        total = total + (x[:, i] * p + (1 - x[:, i]) * (1 - p)).log()
        known = known.clone()
        known[:, i] = 1
    return total


@pytest.mark.parametrize("hidden", [(6,), (6, 5), (4, 5, 3)])
def test_the_distribution_is_the_mean_over_orders(hidden):
    model = wide(hidden=hidden, shape=(5,))
    x = every(5)
    expected = torch.stack([along(model, x, order.tolist()).exp() for order in model.orders]).mean(
        0
    )
    torch.testing.assert_close(model.log_prob(x).exp(), expected, rtol=1e-10, atol=0)
    assert abs(model.log_prob(x).exp().sum().item() - 1) < 1e-10


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_in_half_precision_uses_the_same_masks(dtype):
    """Half precision cannot represent all numbers up to 784, and its uniform numbers tie."""
    model, x = EoNADE(hidden=(8,), shape=(784,)), torch.zeros(100, 784)
    losses = []
    with torch.no_grad():
        model.out_bias.copy_(torch.linspace(-6, 6, 784))
        for kind in (torch.float32, dtype):
            torch.manual_seed(0)
            losses.append(float(model.to(kind).loss(x.to(kind))["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)


@pytest.mark.parametrize("n", [200, 600])
def test_two_processes_draw_the_same_samples_as_one(n):
    model = wide(hidden=(5,), shape=(6,), orderings=4)

    def draw(rows, rank, size):
        torch.manual_seed(0)
        with emulate_rank(rank, size):
            return model.sample(rows)

    assert torch.equal(draw(n, 0, 1), torch.cat([draw(n // 2, rank, 2) for rank in range(2)]))


@pytest.mark.parametrize("dims", [3, 4])
def test_the_loss_is_unbiased_for_the_mean_over_all_orders(dims):
    """The expected loss over all masks equals the mean over all D! orders."""
    model, x = wide(shape=(dims,)), every(dims)[3:4]
    orders = list(itertools.permutations(range(dims)))
    expected = -torch.stack([along(model, x, order) for order in orders]).mean()
    enumerated = torch.zeros((), dtype=torch.float64)
    for size in range(dims):
        masks = [m for m in itertools.product([0.0, 1.0], repeat=dims) if sum(m) == size]
        for mask in torch.tensor(masks, dtype=torch.float64)[:, None]:
            p = network(model, x, mask).sigmoid()
            nats = -(x * p + (1 - x) * (1 - p)).log()
            enumerated += (nats * (1 - mask)).sum() * dims / (dims - size) / len(masks) / dims
    torch.testing.assert_close(enumerated, expected)
    with torch.no_grad():
        losses = torch.stack([model.loss(x.expand(4000, dims))["loss"] for _ in range(20)])
    assert abs(losses.mean() - expected) < 4 * losses.std() / math.sqrt(20) + 1e-3


def test_conditionals_multiply_to_the_likelihood_of_one_order():
    model, x = wide(shape=(4,)), every(4)[6:9]
    for j, order in enumerate(model.orders):
        log_prob = model.conditionals(x, ordering=j).log_prob(x).sum(1)
        torch.testing.assert_close(log_prob, along(model, x, order.tolist()))
    with pytest.raises(SettingError, match="ordering = 3: this model has orders 0 to 2"):
        model.conditionals(x, ordering=3)


def test_frequencies_of_samples_match_the_probabilities():
    model = wide(shape=(3,))
    expected = model.log_prob(every(3)).exp().detach()
    x = model.sample(40_000)
    frequencies = torch.stack([(x == row).all(1).double().mean() for row in every(3)])
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=0.01)


def test_completion_conditions_on_all_kept_values():
    """If one value is missing, its distribution is the network's output, for every order."""
    model = wide(shape=(5,))
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    for missing in (0, 2, 4):
        kept = torch.arange(5) != missing
        p = network(model, x, kept[None].double())[0, missing].sigmoid()
        completions = model.complete(x.expand(20_000, 5), kept)
        assert torch.equal(completions[:, kept], x[:, kept].expand(20_000, 4))
        assert abs(completions[:, missing].mean() - p) < 0.015


def test_masks_may_differ_between_examples():
    model = wide(shape=(4,))
    x, mask = (
        every(4)[[5, 10]],
        torch.tensor([[True, True, True, False], [False, True, False, True]]),
    )
    assert torch.equal(model.complete(x, mask)[mask], x[mask])


@pytest.mark.slow
def test_more_orders_are_at_least_as_likely_on_average():
    """A mixture of orders is at least as likely as single orders on average (Jensen)."""
    data = genzoo.build({"name": "digits", "binarize": "threshold"}, "datasets")
    run = genzoo.fit(
        {"name": "eonade", "hidden": (64,), "orderings": 4}, data, steps=400, batch_size=50
    )
    x = data.prepare(torch.as_tensor(data.test["x"]))[:100]
    with torch.no_grad():
        single = torch.stack(
            [run.model.distribution(x, ordering=j).log_prob(x).flatten(1).sum(1) for j in range(4)]
        )
    assert run.model.score_samples(x).mean() > single.mean()


def test_a_network_without_a_hidden_layer_is_refused():
    with pytest.raises(SettingError, match="needs a hidden layer"):
        EoNADE(hidden=())
