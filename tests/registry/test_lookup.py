"""Names and their owners.

The plugins are packages with metadata on the import path, as an installer leaves them.
"""

import sys

import pytest

import genzoo
from genzoo.errors import PluginError, SettingError
from genzoo.registry.kinds import BUILT_IN, KINDS
from genzoo.registry.lookup import Registry, available, registries, registry


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Disable the plugins that are installed on this machine."""
    monkeypatch.setenv("GENZOO_PLUGINS", "off")


@pytest.fixture
def models():
    """Return a separate registry of models, so that no registered name outlives a test."""
    return Registry("models")


GOOD = (
    "from types import SimpleNamespace\n"
    "def foo(shape, size: int = 3): return SimpleNamespace(shape=shape, size=size)\n"
)


def test_a_plugin_is_found_and_built_by_name(install):
    assert "foo" not in available()
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo=GOOD)
    assert "foo" in available()
    assert "foo" in registry("models")
    part = genzoo.build({"name": "foo", "size": 4}, shape=(2,))
    assert (part.shape, part.size) == ((2,), 4)


def test_settings_of_a_plugin_are_checked(install):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo=GOOD)
    with pytest.raises(
        SettingError, match=r"^model 'foo' has no setting 'sise'\. Did you mean 'size'\?$"
    ):
        genzoo.build({"name": "foo", "sise": 4}, shape=(2,))


def test_listing_imports_nothing(install):
    install(
        "genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo="raise RuntimeError('imported')"
    )
    for kind in KINDS:
        available(kind)
    source = registry("models").registration("foo")
    assert (source.distribution, source.version, source.value) == (
        "genzoo-foo",
        "0.3",
        "genzoo_foo:foo",
    )
    assert "genzoo_foo" not in sys.modules


def test_a_broken_plugin_does_not_affect_others(install, models):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:Foo"}, genzoo_foo="import bar_not_there")
    expected = (
        "models 'foo' comes from genzoo-foo 0.3 (genzoo_foo:Foo), which failed to import: "
        "No module named 'bar_not_there'"
    )
    with pytest.raises(PluginError) as caught:
        models.get("foo")
    assert str(caught.value) == expected
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert {"foo", "vae"} <= set(models.available())
    with pytest.raises(SettingError, match="Did you mean 'wae-mmd'"):
        models.get("wae-mdm")
    assert "foo" not in models.get_all()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import sys; sys.exit(3)", "3"),
        ("import sys; sys.exit()", "SystemExit"),
        ("raise RuntimeError('no license')", "no license"),
        ("1 +", "invalid syntax"),
        ("", "has no attribute 'Foo'"),
        ("Foo = 5", "it names a int, not a class or function"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
        ("raise RuntimeError('\\x1b[2Jcleared')", r"RuntimeError: \\x1b\[2Jcleared"),
    ],
)
def test_a_failed_import_of_a_plugin_is_reported(install, models, source, reason):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:Foo"}, genzoo_foo=source)
    with pytest.raises(PluginError, match=rf"genzoo-foo 0\.3 .* failed to import: .*{reason}"):
        models.get("foo")


def test_an_interrupt_is_not_reported_as_a_plugin_error(install, models):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:Foo"}, genzoo_foo="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        models.get("foo")


def test_a_name_of_two_plugins_is_ambiguous(install, models):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:A"}, genzoo_foo="A = lambda: 'from foo'")
    install("genzoo-bar", "1.0", {"foo": "genzoo_bar:B"}, genzoo_bar="B = lambda: 'from bar'")
    with pytest.raises(SettingError) as caught:
        models.get("foo")
    for part in (
        "genzoo-foo 0.3 (genzoo_foo:A)",
        "genzoo-bar 1.0 (genzoo_bar:B)",
        "'genzoo-foo:foo'",
        "'genzoo-bar:foo'",
    ):
        assert part in str(caught.value)
    assert models.get("genzoo-foo:foo")() == "from foo"
    assert models.get("genzoo-bar:foo")() == "from bar"
    with pytest.raises(SettingError, match="No model named 'genzoo-baz:foo'"):
        models.get("genzoo-baz:foo")
    assert models.available("foo") == ["foo"]


def test_a_plugin_cannot_replace_a_built_in(install, models):
    install("genzoo-foo", "0.3", {"vae": "genzoo_foo:A"}, genzoo_foo="A = lambda: 'mine'")
    assert models.get("vae").__module__ == "genzoo.models.vae"
    assert models.get("genzoo-foo:vae")() == "mine"
    assert [source.distribution for source in models.registrations()["vae"]] == [
        "genzoo",
        "genzoo-foo",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("models", "wae-mdm", "No model named 'wae-mdm'. Did you mean 'wae-mmd'?"),
        ("priors", "unifrom", "No prior named 'unifrom'. Did you mean 'uniform'?"),
        ("critics", "transformer", "No critic named 'transformer'. Known: conv, mlp."),
    ],
)
def test_a_misspelled_name_suggests_the_nearest_name(kind, name, message):
    with pytest.raises(SettingError) as caught:
        Registry(kind).get(name)
    assert str(caught.value) == message


def test_an_unknown_kind_is_refused():
    with pytest.raises(
        SettingError, match=r"No kind of thing named 'model'\. Did you mean 'models'"
    ):
        registry("model")


def test_names_are_sorted_and_filtered():
    assert available("priors", "no*") == ["normal"]
    assert available("priors") == sorted(available("priors"))
    assert available("models", "nothing*") == []


def cell(models, distribution=None):
    """Register a class, as a notebook cell does each time it runs."""

    @models.register("thing")
    class Thing:
        pass

    return Thing


def test_rerunning_a_notebook_cell_replaces_its_registration(models):
    first, second = cell(models), cell(models)
    assert first is not second
    assert models.get("thing") is second
    assert models.name_of(second) == "thing"
    models.unregister("thing")
    assert "thing" not in models


def test_a_name_has_one_owner(models, install):
    cell(models)
    other = type("Other", (), {"__module__": "elsewhere"})
    with pytest.raises(
        SettingError,
        match=r"models 'thing' is taken by here .*Thing.*, so elsewhere:Other needs another name",
    ):
        models.register("thing", other)
    with pytest.raises(
        SettingError, match=r"models 'vae' is taken by genzoo .* \(genzoo\.models\.vae:VAE\)"
    ):
        models.register("vae", other)
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:A"})
    with pytest.raises(SettingError, match=r"models 'foo' is taken by genzoo-foo 0\.3"):
        models.register("foo", other)


def test_a_registered_name_takes_precedence_over_a_later_plugin(models, install):
    registered = cell(models)
    install("genzoo-foo", "0.3", {"thing": "genzoo_foo:A"}, genzoo_foo="A = lambda: 'theirs'")
    assert models.get("thing") is registered
    assert models.get("genzoo-foo:thing")() == "theirs"


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names]
)
def test_every_name_can_be_imported(kind, name):
    constructor = registries[kind].get(name)
    assert callable(constructor)
    assert registries[kind].name_of(constructor) == name


def test_a_module_may_register_a_name_that_its_package_declares(install):
    """A file for --plugin may become a module of a package without a change."""
    source = "import genzoo\n@genzoo.models.register('twice')\ndef made(shape): ..."
    install("genzoo-foo", "0.3", {"twice": "genzoo_foo:made"}, genzoo_foo=source)
    assert registry("models").get("twice").__name__ == "made"
    assert registry("models").registration("twice").distribution == "genzoo-foo"


@pytest.mark.parametrize("name", ["run", "my.model", "x_1", "a+b", "ß"])
def test_valid_names_are_accepted(models, name):
    models.register(name, dict)
    assert name in models


def test_what_cannot_build_an_object_is_refused(models):
    with pytest.raises(SettingError, match="'runs/vae', which is not a class or factory"):
        models.register("mine", "runs/vae")


@pytest.mark.parametrize("name", ["./run", "runs/x", "..", "--help", "a b", "", "a\\b", "_x"])
def test_invalid_names_are_refused(models, install, name):
    with pytest.raises(SettingError, match="other than letters"):
        models.register(name, dict)
    install(
        "genzoo-foo", "0.3", {name: "genzoo_foo:A"}, genzoo_foo="raise RuntimeError('imported')"
    )
    assert name not in models
