"""Microbatches add up to their batch; a warning names the losses for which they do not."""

import warnings

import pytest
import torch
from torch import nn

import genzoo
from genzoo import Model

NET = {"name": "mlp", "hidden": (16,)}
BITS = {"name": "digits", "binarize": "threshold"}
LEARNED = {"name": "mog", "components": 3, "learn": True}
MEANS = {
    "vae": (
        {"name": "vae", "sigma": 1.0, "encoder": NET, "decoder": NET},
        {"name": "digits", "dequantize": True},
    ),
    "vae-mog": (
        {"name": "vae", "sigma": "learned", "prior": LEARNED, "encoder": NET, "decoder": NET},
        "digits",
    ),
    "gan": ({"name": "gan", "generator": NET, "critic": NET, "smoothing": 0.1}, "digits"),
    "gan-mog": (
        {"name": "gan", "latent_dim": 3, "generator": NET, "critic": NET, "prior": LEARNED},
        "digits",
    ),
    "wgan-gp": (
        {
            "name": "wgan-gp",
            "generator": NET,
            "critic": {**NET, "norm": "layer"},
            "critic_steps": 1,
        },
        "digits",
    ),
    "wae-gan": (
        {"name": "wae-gan", "random_encoder": True, "encoder": NET, "decoder": NET, "critic": NET},
        "digits",
    ),
    "nade": ({"name": "nade", "hidden": 8}, {"name": "digits", "binarize": "stochastic"}),
    "rnade": (
        {"name": "rnade", "hidden": 8, "shape": (2,)},
        {"name": "toy", "distribution": "moons"},
    ),
    "eonade": ({"name": "eonade", "hidden": (16,)}, BITS),
    "pixel-rnn": ({"name": "pixel-rnn", "layer": "conv", "hidden": 4, "depth": 1}, BITS),
}
OTHERS = {
    # the default sigma is fitted to each batch
    "vae": (
        "autoencoder",
        {"name": "vae", "encoder": NET, "decoder": NET},
    ),
    "wae-mmd": ("autoencoder", {"name": "wae-mmd", "encoder": NET, "decoder": NET}),
    "gan": ("generator", {"name": "gan", "generator": {**NET, "norm": "batch"}, "critic": NET}),
}


def step(table, data, microbatches):
    """Return the weights, as vectors, before and after a gradient descent step of each player."""
    shape = {"shape": (1, 8, 8)} if "shape" not in table else {}
    torch.manual_seed(0)
    model = genzoo.build(table, **shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    players = {player.name: {"name": "SGD", "lr": 1e-2} for player in model.players()}
    genzoo.fit(
        model,
        data,
        steps=1,
        batch_size=48,
        microbatches=microbatches,
        players=players,
        precision="64-true",
    )
    return before, nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.parametrize("name", MEANS)
def test_a_step_on_microbatches_equals_a_step_on_the_batch_without_a_warning(name):
    table, data = MEANS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before, whole = step(table, data, 1)
        _, parts = step(table, data, 4)
    assert (whole - before).norm() > 0
    assert (parts - whole).norm() < 1e-6 * (whole - before).norm()


@pytest.mark.parametrize(
    ("name", "batch_size"), [("vae", 24), ("wae-mmd", 24), ("gan", 24), ("wae-mmd", 6), ("gan", 4)]
)
def test_a_loss_that_is_not_a_mean_over_examples_is_reported_once(name, batch_size):
    player, table = OTHERS[name]
    with pytest.warns(
        UserWarning, match=f"player '{player}': .* microbatches = 2 trains another objective than"
    ) as warned:
        genzoo.fit(table, "digits", steps=2, batch_size=batch_size, microbatches=2)
    messages = [str(warning.message) for warning in warned]
    texts = [message for message in messages if f"player '{player}'" in message]
    assert len(texts) == 1
    assert (
        "cannot be computed for 1"
        if batch_size < 8 and name != "vae"
        else "a relative difference of"
    ) in texts[0]


class Counting(Model):
    """A model with dropout, noise, and counters, whose loss is still a mean over examples."""

    def __init__(self, shape=(1, 8, 8)):
        super().__init__()
        self.shape = shape
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 1))
        # a batch norm with statistics that the loss does not use
        self.watch = nn.BatchNorm1d(64)
        self.register_buffer("seen", torch.zeros(()))
        # a parameter that the loss sets and that is not trained
        self.scale = nn.Parameter(torch.ones(64))
        self.calls, self.pools, self.total = 0, {"sums": []}, torch.zeros(())

    def loss(self, batch):
        self.watch(batch.flatten(1))
        self.seen += batch.sum()
        self.seen = self.seen.clone()
        self.calls += 1
        self.pools["sums"].append(float(batch.sum()))
        self.total += batch.sum()
        with torch.no_grad():
            self.scale *= 1 + batch.mean()
        return {"loss": (self.net(batch) - 1 - torch.randn(len(batch), 1)).square().mean()}

    def sample(self, n, given=None):
        return torch.zeros(n, *self.shape)


def test_comparing_half_batches_does_not_change_training(monkeypatch):
    states = []
    for compares in (True, False):
        if not compares:
            monkeypatch.setattr("genzoo.train.session.compare_halves", lambda *_: None)
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = genzoo.fit(Counting(), "digits", steps=2, batch_size=16, microbatches=2).model
        states.append((model.state_dict(), model.calls, model.pools, float(model.total)))
    assert states[0][1:] == states[1][1:]
    assert states[0][1] == len(states[0][2]["sums"]) == 4
    assert all(torch.equal(value, states[1][0][name]) for name, value in states[0][0].items())
