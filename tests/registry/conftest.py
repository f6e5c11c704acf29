"""Fixtures of the tests of the registry."""

import pytest

from genzoo.registry.lookup import registries


@pytest.fixture
def no_plugins(monkeypatch):
    """Disable the plugins of this machine, and remove every name that a test registers."""
    monkeypatch.setenv("GENZOO_PLUGINS", "off")
    for each in registries.values():
        monkeypatch.setattr(each, "_registered", dict(each._registered))
