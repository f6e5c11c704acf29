"""The error for a misplaced setting, or for another library's name, shows a call that works."""

import re
from dataclasses import fields

import pytest

import genzoo
from genzoo.errors import SettingError
from genzoo.registry.records import settings_of
from genzoo.registry.signatures import parameters
from genzoo.runs import recipe as recipes
from genzoo.train.misplaced import NAMES, explained
from genzoo.train.optimizers import OPTIMIZERS
from genzoo.train.settings import Settings

SMALL = {"steps": 1, "batch_size": 8}


def refusal(function, *args, **settings) -> str:
    with pytest.raises(SettingError) as caught:
        function(*args, **settings)
    return str(caught.value)


def follow(message: str) -> genzoo.Model:
    """Run the call that a message shows, with a single step, and return the model."""
    call = re.search(r": (genzoo\.(fit|load)\(.*\)); in a recipe or override, ", message)
    assert call, message

    class Short:
        load = staticmethod(genzoo.load)

        @staticmethod
        def fit(*args, **settings):
            return genzoo.fit(*args, **{**SMALL, **settings, "steps": 1, "device": "cpu"}).model

    return eval(call[1], {"genzoo": Short})


def overridden(message: str) -> dict:
    """Return the recipe with the overrides that a message shows."""
    texts = re.findall(
        r"[a-z]+(?:\.\w+)+=\S+", message.split("in a recipe or override, ")[1].rstrip(".")
    )
    assert texts, message
    return recipes.checked(recipes.override({"model": "vae", "data": "digits"}, texts))


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"latent_dim": 4}, {"model": {"name": "vae", "latent_dim": 4}}),
        ({"beta": 2.0}, {"model": {"name": "vae", "beta": 2.0}}),
        ({"prior": "mog"}, {"model": {"name": "vae", "prior": "mog"}}),
        ({"lr": 1e-2}, {"players": {"autoencoder": {"lr": 1e-2}}}),
        ({"weight_decay": 0.1}, {"players": {"autoencoder": {"weight_decay": 0.1}}}),
        ({"binarize": "threshold"}, {"data": {"name": "digits", "binarize": "threshold"}}),
        (
            {"hidden": (8,)},
            {
                "model": {
                    "name": "vae",
                    "encoder": {"name": "mlp", "hidden": [8]},
                    "decoder": {"name": "mlp", "hidden": [8]},
                }
            },
        ),
        ({"learning_rate": 1e-2}, {"players": {"autoencoder": {"lr": 1e-2}}}),
        ({"optimizer": "sgd"}, {"players": {"autoencoder": {"name": "sgd"}}}),
        ({"batchsize": 8}, {"train": {"batch_size": 8}}),
        ({"n_epochs": 1}, {"train": {"epochs": 1}}),
        ({"num_epochs": 1}, {"train": {"epochs": 1}}),
        ({"max_steps": 1}, {"train": {"steps": 1}}),
        ({"gpus": 1}, {"train": {"device": "cuda"}}),
        ({"accelerator": "gpu"}, {"train": {"device": "cuda"}}),
        ({"z_dim": 4}, {"model": {"name": "vae", "latent_dim": 4}}),
        ({"latent_size": 4}, {"model": {"name": "vae", "latent_dim": 4}}),
        (
            {"hidden_size": 8},
            {
                "model": {
                    "name": "vae",
                    "encoder": {"name": "mlp", "hidden": [8]},
                    "decoder": {"name": "mlp", "hidden": [8]},
                }
            },
        ),
    ],
)
def test_fit_shows_where_a_setting_belongs(settings, where):
    message = refusal(genzoo.fit, "vae", "digits", **settings)
    (key,) = settings
    assert message.startswith(f"train has no setting {key!r}. {key!r} is ")
    recipe = overridden(message)
    assert {section: recipe[section] for section in where} == where
    # `follow` trains for a single step
    if "epochs" not in str(where):
        model = follow(message)
        for name, value in where.get("model", {}).items():
            if not isinstance(value, dict | str):
                assert settings_of(model)[name] == value


def test_every_player_that_accepts_the_setting_is_named():
    message = refusal(genzoo.fit, "gan", "digits", lr=0.5)
    assert 'players={"critic": {"lr": 0.5}, "generator": {"lr": 0.5}}' in message
    assert "players.critic.lr=0.5 players.generator.lr=0.5" in message


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (
            ({"name": "vae", "steps": 3}, "digits"),
            {},
            r"model 'vae' .*of training: genzoo.fit\(\"vae\", \"digits\", steps=3\)",
        ),
        (
            ({"name": "vae", "lr": 3}, "digits"),
            {},
            r"model 'vae' .*'lr' is a setting of a player's optimizer",
        ),
        (("vae", {"name": "digits", "epochs": 3}), {}, r"data 'digits' .*train.epochs=3"),
        (
            ("vae", "digits"),
            {"players": {"lr": 3}},
            r"VAE has no player 'lr'.*players.autoencoder.lr=3",
        ),
        (
            ("vae", "digits"),
            {"players": {"autoencoder": {"steps": 3}}},
            r"'Adam' has no setting 'steps'.*train.steps=3",
        ),
        (
            ("vae", "digits"),
            {"players": {"autoencoder": 3}},
            r'players.autoencoder = 3: .*\{"autoencoder": \{"lr": 1e-3\}\}',
        ),
    ],
)
def test_a_setting_in_any_other_place_is_explained(arguments, settings, message):
    assert re.search(message, refusal(genzoo.fit, *arguments, **settings))


def test_the_message_for_an_instance_uses_its_name():
    message = refusal(genzoo.fit, genzoo.load("vae", shape=(1, 8, 8)), "digits", beta=3.0)
    assert 'genzoo.fit({"name": "vae", "beta": 3.0}, "digits")' in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 3}, 'genzoo.fit("vae", "digits", players={"autoencoder": {"lr": 3}})'),
        ({"steps": 3}, 'genzoo.fit("vae", "digits", steps=3)'),
        ({"z_dim": 3}, 'genzoo.load("vae", latent_dim=3)'),
        (
            {"hidden": (3,)},
            'genzoo.load("vae", encoder={"name": "mlp", "hidden": (3,)}, '
            'decoder={"name": "mlp", "hidden": (3,)})',
        ),
        ({"name": "gan"}, "the first argument, 'vae', is the model's name"),
        ({"laten_dim": 3}, "Did you mean 'latent_dim'?"),
    ],
)
def test_load_shows_where_a_setting_belongs(settings, message):
    assert message in refusal(genzoo.load, "vae", **settings)


@pytest.mark.parametrize(
    "text", ["latent_dim=4", "lr=1e-3", "steps=100", "learning_rate=1e-3", "z_dim=4"]
)
def test_an_override_without_its_section_is_explained(text):
    key = text.split("=")[0]
    with (
        pytest.raises(SettingError, match=rf"has no section '{key}'\. '{key}' is ") as caught,
        explained(),
    ):
        recipes.checked(recipes.override({"model": "vae", "data": "digits"}, [text]))
    follow(str(caught.value))
    overridden(str(caught.value))


def test_an_unknown_setting_suggests_the_nearest_spelling():
    assert (
        refusal(genzoo.fit, "vae", "digits", step=3)
        == "train has no setting 'step'. Did you mean 'steps'?"
    )
    assert "Known: " in refusal(genzoo.fit, "vae", "digits", nonsense=3)


def test_names_of_other_libraries_are_not_settings_and_map_to_settings():
    settings = {field.name for field in fields(Settings)} | {"name"}
    for kind in ("models", "encoders", "decoders", "critics", "priors"):
        settings |= {
            key
            for constructor in genzoo.registry.lookup.registries[kind].get_all().values()
            for key in parameters(constructor)
        }
    settings |= {key for optimizer in OPTIMIZERS.values() for key in parameters(optimizer)}
    assert not NAMES.keys() & settings
    assert {*NAMES.values()} <= settings
