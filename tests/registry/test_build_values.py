"""Every setting of every built-in name accepts an absurd value or refuses it in one line."""

import math

import pytest

from genzoo.data import mnist_family
from genzoo.errors import DataError, GenzooError
from genzoo.registry.build import build
from genzoo.registry.kinds import KINDS
from genzoo.registry.lookup import registry
from genzoo.registry.signatures import parameters

SIZES = {
    "models": {"shape": (1, 8, 8)},
    "priors": {"dim": 3},
    "encoders": {"shape": (1, 8, 8), "dim": 4},
    "decoders": {"dim": 4, "shape": (1, 8, 8)},
    "critics": {"shape": (1, 8, 8)},
    "translators": {"given_shape": (1, 8, 8), "shape": (1, 8, 8)},
}
VALUES = (
    -1,
    10**11,
    10**5000,
    math.inf,
    "a\0b",
    [],
    {"name": 5},
    None,
    (1, 0, 3),
    (math.nan,),
    b"x",
)
NAMED = [
    (kind, name)
    for kind in KINDS
    for name in registry(kind).available()
    if registry(kind).registration(name).origin == "genzoo"
]


def _offline(url, sha256, path):
    raise DataError(f"{url}: no connection in a test")


@pytest.mark.parametrize(("kind", "name"), NAMED, ids=[f"{kind}/{name}" for kind, name in NAMED])
def test_an_extreme_value_is_accepted_or_refused_in_one_line(kind, name, monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    monkeypatch.setattr(mnist_family, "fetch", _offline)
    for key in parameters(registry(kind).get(name)):
        for value in VALUES:
            message = ""
            try:
                build({"name": name, **SIZES.get(kind, {}), key: value}, kind)
            except GenzooError as error:
                message = str(error)
            assert "\n" not in message, (key, message)
            assert len(message) < 800, (key, message)
