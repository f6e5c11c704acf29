"""Tests that a run folder restores the trained model, or is refused before training."""

import random
import tomllib

import numpy as np
import pytest
import torch
from torch import nn

import genzoo
from genzoo.contract import Critic, Model
from genzoo.errors import SettingError
from genzoo.registry.lookup import registries
from genzoo.runs.record import record

SMALL = {"name": "mlp", "hidden": (4,)}


def small(name="vae", **settings):
    parts = {"encoder": SMALL, "decoder": SMALL} if name in ("vae", "wae-mmd") else {}
    return genzoo.build({"name": name, **parts, **settings}, shape=(1, 8, 8))


def part(spec, kind="priors", **context):
    return genzoo.build(spec, kind, **context)


def change(model, **attributes):
    for path, value in attributes.items():
        *owner, name = path.split("__")
        setattr(model.get_submodule(".".join(owner)), name, value)
    return model


def trained(model, tmp_path, data="digits"):
    genzoo.fit(model, data, tmp_path / "run", steps=1, batch_size=8, progress=False)
    return genzoo.load(tmp_path / "run")


def test_a_changed_argument_is_recorded(tmp_path):
    assert trained(change(small(), beta=4.0), tmp_path).beta == 4.0


@pytest.mark.parametrize(
    ("changes", "where", "value"),
    [
        ({"beta": torch.tensor(4.0)}, ("beta",), 4.0),
        ({"beta": np.float64(4.0)}, ("beta",), 4.0),
        ({"prior__scale": 2.0}, ("prior", "scale"), 2.0),
        ({"divergence__estimator": "monte-carlo"}, ("divergence", "estimator"), "monte-carlo"),
    ],
)
def test_changed_arguments_of_parts_are_recorded(changes, where, value):
    table = record(change(small(), **changes))
    for key in where:
        table = table[key]
    assert table == value
    assert type(table) is type(value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior",
    ["sphere", {"name": "mog", "components": 3, "learn": True}, {"name": "normal", "scale": 3.0}],
)
def test_a_replaced_part_is_restored_with_its_settings_and_weights(tmp_path, prior):
    model = small("wae-mmd", latent_dim=2)
    model.prior = part(prior, dim=2)
    loaded = trained(model, tmp_path)
    assert type(loaded.prior) is type(model.prior)
    assert loaded.prior.config == model.prior.config
    for name, value in model.prior.state_dict().items():
        assert torch.equal(loaded.prior.state_dict()[name], value)


def test_a_part_that_was_replaced_and_then_changed_is_restored():
    model = small("wae-mmd", latent_dim=2, prior="mog")
    model.prior = part("normal", dim=2)
    model.prior.scale = 2.0
    assert record(model)["prior"] == {"name": "normal", "scale": 2.0}


def test_parts_added_to_a_game_are_restored():
    net = {"generator": SMALL, "critic": SMALL}
    table = record(
        change(small("gan", **net), penalty=part("r1", "divergences"), labels=[0.0, 1.0, 0.5])
    )
    assert (table["penalty"], table["labels"]) == ({"name": "r1", "every": 1}, (0.0, 1.0, 0.5))


def test_a_reduced_number_of_orders_is_restored(tmp_path):
    model = genzoo.load("eonade", hidden=(4,), shape=(1, 8, 8))
    model.orders = model.orders[:2]
    loaded = trained(model, tmp_path, {"name": "digits", "binarize": "threshold"})
    assert torch.equal(loaded.orders, model.orders)
    model.orders = model.orders.flip(0)
    with pytest.raises(SettingError, match=r"orders is a tensor.*order_seed"):
        record(model)


def test_a_replaced_order_is_recorded_as_its_argument():
    nade = genzoo.load("nade", hidden=4, shape=(4,))
    nade.order = torch.tensor([3, 1, 0, 2])
    nade.rank = nade.order.argsort()
    assert record(nade)["order"] == (3, 1, 0, 2)
    nade.rank = torch.arange(4)
    with pytest.raises(SettingError, match="order"):
        record(nade)


def tie(model):
    model.encoder.net[1].bias = model.decoder.net[0].bias


REFUSED = {
    "prior": lambda m: change(m, prior=nn.Linear(2, 2)),
    "encoder": lambda m: change(m, encoder=nn.Sequential(m.encoder, nn.Tanh())),
    "extra": lambda m: change(m, extra=nn.Linear(2, 2)),
    "encoder.net.1": lambda m: nn.utils.parametrizations.weight_norm(m.encoder.net[1]),
    "decoder.net.0.weight": lambda m: nn.utils.spectral_norm(m.decoder.net[0]),
    "encoder.net.2": lambda m: m.encoder.net.insert(2, nn.Dropout(0.5)),
    "decoder.net.0": lambda m: m.decoder.double(),
    "loss": lambda m: change(m, loss=lambda batch: {"loss": batch.mean()}),
    "players": lambda m: change(m, players=lambda: ()),
    "encoder.forward": lambda m: change(m, encoder__forward=lambda x: x),
    "optimizer": lambda m: change(m, optimizer={"name": "SGD", "lr": 0.1}),
    "latent_dim": lambda m: change(m, latent_dim=3),
    "sigma": lambda m: change(m, sigma="learned"),
    "beta": lambda m: change(m, beta=-1.0),
    "net.1.bias": tie,
}


@pytest.mark.parametrize("where", REFUSED)
def test_a_change_that_no_setting_can_express_is_refused_by_name(where):
    model = small()
    REFUSED[where](model)
    with pytest.raises(SettingError) as refused:
        record(model)
    text = str(refused.value)
    assert f"{where}" in text
    assert " in the model and " in text
    assert "state_dict" in text


def test_a_change_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(SettingError, match="latent_dim is 3"):
        trained(change(small(), latent_dim=3), tmp_path)
    assert not (tmp_path / "run").exists()


def test_the_message_for_a_changed_attribute_shows_its_values():
    gan = change(small("gan", generator=SMALL, critic=SMALL), loss_name="minimax")
    with pytest.raises(
        SettingError,
        match=r"loss_name is 'minimax' in the model and 'non-saturating' .*'gan' takes .*loss",
    ):
        record(gan)


def test_a_changed_argument_that_other_attributes_do_not_match_is_named():
    wae = change(small("wae-mmd"), divergence__kernel="rbf")
    with pytest.raises(
        SettingError,
        match=r"divergence\.kernel is 'rbf' .* 'imq' .*Build 'mmd' with kernel = 'rbf'",
    ):
        record(wae)


class Stateful(Model):
    """A model whose attributes change with use: a counter, a log, a cache, and a late attribute."""

    def __init__(
        self, width: int = 2, annealed: float = 1.0, shape: tuple[int, ...] = (2,)
    ) -> None:
        super().__init__()
        self.shape, self.annealed = tuple(shape), annealed
        self.linear = nn.Linear(2, 2)
        self.temperature = 1.0
        self.calls, self.log, self.cache, self.made = 0, [], {}, None
        self.setup()
        self.width = width

    def setup(self) -> None:
        self.scheme = "a"

    def loss(self, batch):
        self.calls += 1
        self.late = batch.mean()
        self.made = self.made or object()
        self.cache[len(batch)] = batch.shape
        self.log.append(self.calls)
        self.annealed = max(0.1, self.annealed - 0.1)
        return {
            "loss": (self.linear(batch) - batch).square().mean() * self.annealed * self.temperature
        }

    def sample(self, n, given=None):
        return torch.zeros(n, 2)


class Drawn(Model):
    """A model with random numbers that weights do not hold."""

    def __init__(self, shape: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.linear = nn.Linear(2, 2)
        self.register_buffer("directions", torch.randn(3, 2), persistent=False)

    def loss(self, batch):
        return {"loss": (self.linear(batch) @ self.directions.T).square().mean()}

    def sample(self, n, given=None):
        return torch.zeros(n, 2)


@pytest.fixture
def registered(monkeypatch):
    models = registries["models"]
    monkeypatch.setattr(models, "_registered", dict(models._registered))
    models.register("stateful", Stateful)
    models.register("drawn", Drawn)


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_only_changes_by_the_user_count_as_a_difference(tmp_path):
    model, x = Stateful(), torch.rand(32, 2)
    for step in range(2):  # the second run starts from a used model
        genzoo.fit(model, x, tmp_path / str(step), steps=2, batch_size=8, progress=False)
    model.linear.register_forward_hook(lambda *_: None)
    model.eval()
    assert model.calls == 4
    assert record(model)["annealed"] == model.annealed
    with pytest.raises(SettingError, match=r"temperature is 2\.0 in the model and 1\.0"):
        record(change(model, temperature=2.0))
    with pytest.raises(SettingError, match="scheme is 'b' in the model and 'a'"):
        record(change(Stateful(), scheme="b"))


@pytest.mark.usefixtures("registered")
def test_random_numbers_of_the_constructor_are_refused_unless_weights_hold_them():
    with pytest.raises(
        SettingError, match=r"a new directions each time: register it as a persistent buffer"
    ):
        record(Drawn())


def test_recording_does_not_change_the_random_state_or_the_model():
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    record(model)
    assert (float(torch.rand(())), np.random.rand(), random.random()) == pytest.approx(
        (0.49625658988952637, 0.5488135039273248, 0.8444218515250481)
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_a_folder_changes_are_not_checked():
    genzoo.fit(
        change(small(), prior__note=1, kind=lambda: 0, loss=small().loss),
        "digits",
        steps=1,
        batch_size=8,
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_precision_does_not_count_as_a_difference(dtype):
    for model in (
        small(),
        small("wae-mmd", prior="mog"),
        genzoo.load("pixel-rnn", hidden=2, depth=1, shape=(1, 8, 8)),
    ):
        assert record(model.to(dtype)) == model.config
        assert record(model.float()) == model.config


@pytest.mark.slow
def test_a_resume_with_a_changed_model_is_refused(tmp_path):
    trained(small(), tmp_path)
    with pytest.raises(genzoo.GenzooError, match=r"model\.beta was 1\.0, now 4\.0"):
        genzoo.fit(
            change(small(), beta=4.0),
            "digits",
            tmp_path / "run",
            steps=2,
            batch_size=8,
            resume=True,
        )
    text = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert text["model"]["beta"] == 1.0


def test_parameters_that_were_frozen_by_hand_are_recorded_as_frozen(tmp_path):
    model = small()
    model.encoder.net[1].weight.requires_grad_(False)
    genzoo.fit(
        model,
        "digits",
        tmp_path / "run",
        steps=1,
        batch_size=8,
        progress=False,
        freeze=["*.3.bias"],
    )
    table = tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())
    assert table["train"]["freeze"] == ["*.3.bias", "encoder.net.1.weight"]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_computed_by_hooks_do_not_count_as_a_difference(monkeypatch, norm):
    class Normed(Critic):
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.shape, self.net = tuple(shape), norm(nn.Linear(4, 1))

        def forward(self, x):
            return self.net(x).squeeze(1)

    critics = registries["critics"]
    monkeypatch.setattr(critics, "_registered", dict(critics._registered))
    critics.register("normed", Normed)
    model = genzoo.build({"name": "gan", "critic": "normed", "generator": SMALL}, shape=(4,))
    assert record(model) == model.config
    with torch.no_grad():
        model.score(torch.rand(8, 4))
    assert record(model) == model.config
