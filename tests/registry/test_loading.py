"""The cost of loading a model by name, and the errors that loading raises."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

import genzoo
from genzoo import errors
from genzoo.errors import GenzooError, RunError, SettingError

SMALL = {"name": "mlp", "hidden": (8,)}
PACKAGE = str(Path(genzoo.__file__).parent)


def load():
    """Load a tiny model."""
    sizes = {"latent_dim": 2, "shape": (1, 8, 8)}
    return genzoo.load("wae-mmd", prior="mog", encoder=SMALL, decoder=SMALL, **sizes)


def test_a_tiny_model_takes_at_most_200_calls():
    load()  # imports the modules and fills the caches
    calls = 0

    def trace(frame, event, _):
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    sys.setprofile(trace)
    try:
        load()
    finally:
        sys.setprofile(None)
    assert calls <= 200


def test_the_constructor_of_a_built_part_does_not_check_again(monkeypatch):
    checked = []
    check = genzoo.registry.validation.check
    for module in (genzoo.registry.build, genzoo.registry.records):
        monkeypatch.setattr(
            module, "check", lambda target, *rest: checked.append(target) or check(target, *rest)
        )
    model = load()
    parts = (model, model.encoder, model.decoder, model.prior, model.divergence)
    assert checked == [type(part) for part in parts]
    checked.clear()
    type(model.prior)(2, components=3)
    assert checked == [type(model.prior)]


def test_built_in_names_and_paths_read_no_metadata(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    genzoo.save(load(), folder)

    def refuse(*_, **__):
        pytest.fail("the metadata of installed packages were read")

    monkeypatch.setattr(importlib.metadata, "distributions", refuse)
    load()
    assert type(genzoo.load(folder)) is type(load())
    assert type(genzoo.load(str(folder))) is type(load())
    with pytest.raises(RunError, match="is not a run folder or the name of a model"):
        genzoo.load(tmp_path / "nowhere")


def test_only_invalid_settings_and_data_are_value_errors():
    names = {getattr(errors, name) for name in errors.__all__}
    value_errors = {error for error in names if issubclass(error, ValueError)}
    assert all(issubclass(error, GenzooError) for error in names)
    settings, data = (
        (SettingError, errors.UnknownSettingError),
        (errors.DataError, errors.MissingDataError),
    )
    assert value_errors == {*settings, *data}
