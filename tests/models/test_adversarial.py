"""The game of all GANs: steps and parameters of the players, ranges, and invalid settings."""

from collections import Counter
from itertools import groupby

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import genzoo
from genzoo.contract import Penalty, Prior
from genzoo.errors import GenzooError, SettingError
from genzoo.models.gan import DCGAN, GAN, LSGAN
from genzoo.models.wgan import WGAN
from genzoo.models.wgan_gp import WGANGP

SMALL = {"name": "mlp", "hidden": (8,)}
NETS = {"generator": SMALL, "critic": SMALL, "latent_dim": 2, "shape": (3,)}
MOG = {"name": "mog", "components": 3, "learn": True}
GAMES = [GAN, WGAN, WGANGP]
DATA = torch.rand(40, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def steps():
    """Record the parameters of each optimizer step, in order, with their gradients."""
    recorded = []

    def note(optimizer, *_):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        recorded.append({p: None if p.grad is None else p.grad.clone() for p in parameters})

    hook = register_optimizer_step_post_hook(note)
    yield recorded
    hook.remove()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", GAMES)
def test_the_critic_makes_exactly_n_steps_per_round(kind, n, steps):
    model = kind(critic_steps=n, **NETS)
    first = next(model.critic.parameters())
    calls = Counter()
    for part in (model.critic, model.generator):
        part.register_forward_hook(lambda part, *_: calls.update([part]))
    genzoo.fit(model, DATA, steps=4, batch_size=8)
    turns = [
        ("critic" if critic else "generator", len([*group]))
        for critic, group in groupby(steps, lambda s: first in s)
    ]
    assert turns == [("critic", n), ("generator", 1)] * 4
    # one forward pass per step, and none for a penalty
    assert calls[model.generator] == 4 * (n + 1)
    assert {p for step in steps for p in step} == {
        *model.critic.parameters(),
        *model.generator.parameters(),
    }


@pytest.mark.parametrize("kind", GAMES)
def test_the_critic_loss_leaves_no_gradient_in_the_generator_and_the_prior(kind):
    model = kind(prior=MOG, **NETS)
    model.critic_loss(DATA)["loss"].backward()
    assert all(p.grad is None for part in (model.generator, model.prior) for p in part.parameters())
    # the last bias cancels in the difference of scores
    assert all(p.grad is not None for p in [*model.critic.parameters()][:-1])


@pytest.mark.parametrize("kind", GAMES)
def test_no_gradient_leaks_between_players(kind, steps):
    model = kind(prior=MOG, critic_steps=2, **NETS)
    critic = {*model.critic.parameters()}
    left = []
    inner = model.generator_loss
    model.generator_loss = lambda batch: (
        left.append([p.requires_grad for p in critic]) or inner(batch)
    )
    genzoo.fit(model, DATA, steps=3, batch_size=8)
    assert left
    assert not any(any(flags) for flags in left)
    # the generator's step does not change the gradients of the critic's last step
    assert all(p.grad is None or torch.equal(p.grad, steps[-2][p]) for p in critic)
    assert all(step.keys() in (critic, {*model.parameters()} - critic) for step in steps)


@pytest.mark.parametrize("kind", GAMES)
def test_a_learned_prior_learns(kind):
    model = kind(prior=MOG, **NETS)
    start = {name: p.clone() for name, p in model.prior.named_parameters()}
    assert start.keys() == {"logits", "means", "log_scales"}
    model.generator_loss(DATA)["loss"].backward()
    assert all(p.grad.abs().max() > 0 for p in model.prior.parameters())
    genzoo.fit(model, DATA, steps=3, batch_size=8)
    assert all(not torch.equal(p, start[name]) for name, p in model.prior.named_parameters())


class Seen(nn.Module):
    """A critic that stores its inputs."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach())
        return self.weight * x.flatten(1).sum(1)


@pytest.mark.parametrize(("output", "low"), [("sigmoid", 0.0), ("tanh", -1.0)])
def test_images_are_in_0_1_outside_and_in_the_output_range_inside(output, low):
    model = GAN(2, generator=SMALL, critic=Seen(), output=output, shape=(1, 4, 4))
    (layer, *_) = (m for m in reversed([*model.generator.modules()]) if isinstance(m, nn.Linear))
    layer.weight.data *= 100
    x = model.sample(500)
    assert 0 <= x.min() < 1e-3
    assert 1 - 1e-3 < x.max() <= 1
    z = model.prior.sample(9)
    raw = model.generator(z).detach()
    torch.testing.assert_close(
        model.decode(z).detach(), raw.sigmoid() if output == "sigmoid" else (raw.tanh() + 1) / 2
    )
    batch = torch.rand(50, 1, 4, 4)
    model.critic_loss(batch)
    torch.testing.assert_close(model.critic.shown[0], low + (1 - low) * batch)
    fake = model.critic.shown[1]
    assert low <= fake.min() < low + 0.01
    assert 0.99 < fake.max() <= 1
    torch.testing.assert_close(model.score(batch), (low + (1 - low) * batch).sum((1, 2, 3)))


def test_vectors_are_not_scaled():
    model = GAN(2, generator=SMALL, critic=Seen(), output="tanh", shape=(3,))
    (layer, *_) = (m for m in reversed([*model.generator.modules()]) if isinstance(m, nn.Linear))
    layer.bias.data = torch.tensor([100.0, -100.0, 0.0])
    assert model.sample(5).abs().max() > 90
    model.critic_loss(1000 * DATA)
    assert torch.equal(model.critic.shown[0], 1000 * DATA)


@pytest.mark.parametrize("kind", [DCGAN, LSGAN])
def test_a_sample_with_batch_norm_does_not_depend_on_its_batch(kind):
    model = genzoo.fit(
        kind(4, channels=(4,), shape=(1, 8, 8)), torch.rand(64, 1, 8, 8), steps=3, batch_size=16
    ).model
    assert not model.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    z = model.prior.sample(6)
    alone = torch.cat([model.decode(row[None]) for row in z])
    torch.testing.assert_close(model.decode(z), alone, rtol=1e-4, atol=1e-5)
    model.sample(50)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_logged_values_match_closed_forms():
    model = GAN(2, generator=SMALL, critic=Seen(), shape=(3,))
    for p in model.generator.parameters():  # it always generates (1, 2, 3)
        nn.init.zeros_(p)
    (layer, *_) = (m for m in reversed([*model.generator.modules()]) if isinstance(m, nn.Linear))
    layer.bias.data = torch.tensor([1.0, 2.0, 3.0])
    report = model.critic_loss(torch.tensor([[0.0, 1.0, 5.0], [1.0, 1.0, 1.0]]))
    names = ("real", "fake", "gap", "sample_variance_ratio")
    assert {name: report[name].item() for name in names} == {
        "real": 4.5, "fake": 6.0, "gap": -1.5, "sample_variance_ratio": 0.0,
    }  # fmt: skip
    one = model.critic_loss(torch.ones(1, 3))
    assert one["sample_variance_ratio"].item() == 1
    assert all(value.isfinite() for value in one.values())


class Spread(nn.Module):
    """A generator of normal vectors with a given standard deviation."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, z):
        return self.scale * z


@pytest.mark.parametrize(
    ("scale", "collapsed"), [(0.01, True), (0.2, True), (0.25, False), (1.0, False), (3.0, False)]
)
def test_only_a_collapsed_generator_gets_advice(scale, collapsed):
    # the data have variance 1; a twentieth of it is a standard deviation of 0.224
    model = GAN(2, generator=Spread(scale), critic=SMALL, prior="normal", shape=(2,))
    spread = model.critic_loss(torch.randn(20_000, 2))["sample_variance_ratio"].item()
    assert spread == pytest.approx(scale**2, rel=0.05)
    line = {"step": 1000, "critic/sample_variance_ratio": spread}
    text = model.diagnose(line, 0.5)
    assert (text is not None) == collapsed
    # no advice at the start, when no generator is diverse yet
    assert model.diagnose(line, 0.05) is None
    assert model.diagnose({**line, "step": 10}, 0.5) is None
    assert model.diagnose({"step": 1000}, 0.5) is None
    if collapsed:
        assert "it has collapsed" in text
        assert "Lower the learning rates" in text


@pytest.mark.parametrize(("kind", "suggested"), [(GAN, True), (WGAN, True), (WGANGP, False)])
def test_advice_suggests_wgan_gp_only_to_other_models(kind, suggested):
    line = {"step": 1000, "critic/sample_variance_ratio": 0.01}
    assert ("take wgan-gp" in kind(**NETS).diagnose(line, 0.5)) == suggested


@pytest.mark.slow
def test_fit_shows_the_advice():
    still = {name: {"lr": 1e-9} for name in ("critic", "generator")}
    model = GAN(2, generator=Spread(1e-3), critic=SMALL, prior="normal", shape=(2,))
    with pytest.warns(UserWarning, match="it has collapsed"):
        genzoo.fit(
            model, torch.randn(64, 2), steps=250, batch_size=16, log_every=250, players=still
        )


WRONG = [
    ({"name": "gan", "critic_steps": 0}, r"model\.critic_steps = 0: expected greater than 0"),
    ({"name": "wgan", "critic_steps": -1}, r"model\.critic_steps = -1: expected greater than 0"),
    ({"name": "wgan-gp", "penalty_weight": -10.0},
     r"model\.penalty_weight = -10\.0: expected greater than 0"),
    ({"name": "gan", "penalty": "dragan", "penalty_weight": 0.0},
     r"model\.penalty_weight = 0\.0: expected greater than 0"),
    ({"name": "gan", "penalty": "mmd"},
     r'penalty = MMD compares distributions, .*; take "gradient-penalty", "dragan", or "r1"'),
    ({"name": "wgan-gp", "penalty": "kl"},
     r'penalty = KL compares distributions, .*; take "gradient-penalty", "dragan", or "r1"'),
    ({"name": "wgan", "clip": 0.0}, r"model\.clip = 0\.0: expected greater than 0"),
    ({"name": "gan", "smoothing": 1.0}, r"model\.smoothing = 1\.0: expected less than 1"),
    ({"name": "gan", "smoothing": 0.1, "loss": "least-squares"},
     r"smoothing = 0\.1 .*lower the label b instead: .* \(0\.0, 0\.9"),
    ({"name": "gan", "output": "relu"},
     r"""model\.output = "relu": expected 'sigmoid' or 'tanh'"""),
    ({"name": "gan", "loss": "hinge"},
     r"""model\.loss = "hinge": expected 'non-saturating', 'minimax' or 'least-squares'"""),
    ({"name": "dcgan", "shape": (3,)},
     r"shape = \(3,\): this preset needs images of 8 x 8 pixels or more; take 'gan'"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "message"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_invalid_settings_are_named_with_a_fix(table, message):
    with pytest.raises(SettingError, match=message):
        genzoo.build({"shape": (1, 8, 8), **table})


@pytest.mark.parametrize("kind", GAMES)
def test_a_prior_of_another_dimension_is_refused(kind):
    from genzoo.priors.simple import Normal

    with pytest.raises(
        SettingError, match=r"prior: this Normal has dim = 5, but its owner needs 2"
    ):
        kind(**{**NETS, "prior": Normal(5)})


@pytest.mark.parametrize("name", ["gan", "wgan", "wgan-gp", "dcgan", "lsgan", "wae-gan"])
def test_data_of_a_wrong_shape_are_refused(name):
    with pytest.raises(GenzooError, match=r"(?s)10.*(batch|batch_size).*16"):
        genzoo.fit(name, torch.rand(10, 1, 8, 8), steps=1, batch_size=16)
    with pytest.raises(GenzooError, match=r"\[0, 1\]"):
        genzoo.fit(name, 255 * torch.rand(32, 1, 8, 8), steps=1, batch_size=16)


def test_a_critic_whose_scores_would_broadcast_is_refused():
    column = nn.Sequential(nn.Flatten(), nn.Linear(3, 1))
    model = GAN(2, generator=SMALL, critic=column, shape=(3,))
    with pytest.raises(
        SettingError,
        match=r"critic = Sequential returns scores of shape \(5, 1\) for 5 examples; .* squeeze",
    ):
        model.critic_loss(torch.rand(5, 3))


def test_a_penalty_and_batch_norm_are_refused_before_anything_is_written(tmp_path):
    table = {"name": "gan", "penalty": "r1", "critic": {"norm": "batch"}}
    with pytest.raises(
        SettingError, match=r'BatchNorm1d\) mixes the examples .* take norm = "layer"'
    ):
        genzoo.fit(table, torch.rand(8, 3), tmp_path / "run", steps=1, batch_size=4)
    assert not (tmp_path / "run").exists()


def test_a_penalty_receives_real_and_generated_examples_as_the_critic_does():
    class Keeps(Penalty):
        def forward(self, critic, real, fake):
            self.seen = real, fake
            return critic(real).mean() * 0

    penalty = Keeps()
    x = torch.rand(20, 1, 4, 4)
    model = GAN(2, generator=SMALL, critic=SMALL, output="tanh", penalty=penalty, shape=(1, 4, 4))
    model.critic_loss(x)
    real, fake = penalty.seen
    torch.testing.assert_close(real, 2 * x - 1)
    assert fake.shape == x.shape
    assert fake.min() < 0 <= 1 - fake.max()


def test_logged_values_are_in_full_precision_under_autocast():
    model = WGANGP(2, generator=SMALL, critic=SMALL, shape=(3,))
    with torch.autocast("cpu", torch.bfloat16):
        reports = (
            *model.critic_loss(torch.rand(6, 3)).values(),
            *model.generator_loss(torch.rand(6, 3)).values(),
        )
        fake = model.decode(torch.randn(6, 2))
    assert {value.dtype for value in (*reports, fake)} == {torch.float32}


@pytest.mark.parametrize("place", ["generator", "critic"])
def test_strata_and_batch_norm_are_refused(place):
    with pytest.raises(
        SettingError,
        match=r"BatchNorm1d\) mixes the examples .* draws equally many .* that is not learned",
    ):
        GAN(
            2,
            **{"generator": SMALL, "critic": SMALL, place: {**SMALL, "norm": "batch"}},
            prior=MOG,
            shape=(3,),
        )


def test_a_learned_prior_with_one_stratum_works_with_batch_norm():
    class Moved(Prior):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.dim, self.mean = dim, nn.Parameter(torch.zeros(dim))

        def sample(self, n):
            return self.mean + torch.randn(n, self.dim)

    model = GAN(2, generator={**SMALL, "norm": "batch"}, critic=SMALL, prior=Moved(2), shape=(3,))
    model.generator_loss(torch.rand(8, 3))["loss"].backward()
    assert model.prior.mean.grad.abs().max() > 0
