"""Plugins: packages and files that register names, policies, and run folders that run no code."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

import genzoo
from genzoo.cli import listing
from genzoo.errors import GenzooError, PluginError, RunError, SettingError
from genzoo.registry import plugins
from genzoo.registry.diagnose import _starved, metadata_problem, try_imports
from genzoo.registry.kinds import BUILT_IN, KINDS
from genzoo.registry.lookup import Registry, registry
from genzoo.registry.plugins import CONTRACT_VERSION
from genzoo.runs.folder import RunFolder
from tests.registry.sources import MODEL, REGISTERED

pytestmark = pytest.mark.usefixtures("no_plugins")

PRIOR = """
import torch
from genzoo.contract import Prior


class Still(Prior):
    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def sample(self, n):
        return torch.zeros(n, self.dim)

    def log_prob(self, z):
        return z.sum(1) * 0
"""
GOOD = (
    "from types import SimpleNamespace\n"
    "def foo(shape, size: int = 3): return SimpleNamespace(shape=shape, size=size)\n"
)


@pytest.fixture
def models():
    """Return a separate registry of models."""
    return Registry("models")


def refusal(models, name):
    with pytest.raises(PluginError) as caught:
        models.get(name)
    return str(caught.value)


# -- the contract's version


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ([], None),
        (["{0}.{1}"], None),
        (["{0}.0"], None),
        (["99.0", "{0}.0"], None),
        (["2.0"], "needs contract 2.0 of genzoo, but this genzoo has 1.0: upgrade genzoo"),
        (["1.1"], "needs contract 1.1 of genzoo, but this genzoo has 1.0: upgrade genzoo"),
        (["0.9"], "needs contract 0.9 of genzoo, but this genzoo has 1.0: upgrade genzoo-foo"),
        (["0.9", "2.0"], "needs contract 2.0 of genzoo, but this genzoo has 1.0: upgrade genzoo"),
        (
            ["1"],
            "states a malformed version of genzoo's contract, '1': expected MAJOR.MINOR, as in 1.0",
        ),
        (
            ["1.x"],
            "states a malformed version of genzoo's contract, '1.x': "
            "expected MAJOR.MINOR, as in 1.0",
        ),
        (["9" * 5000 + ".0"], "states a malformed version of genzoo's contract"),
    ],
)
def test_plugins_for_another_contract_version_are_refused(install, models, stated, message):
    assert CONTRACT_VERSION == (1, 0), "the messages below are for this version"
    contract = [text.format(*CONTRACT_VERSION) for text in stated]
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, contract=contract, genzoo_foo=GOOD)
    if message is None:
        assert models.get("foo").__name__ == "foo"
        assert "foo" in models.available()
    else:
        assert refusal(models, "foo").startswith(
            f"models 'foo' comes from genzoo-foo 0.3 (genzoo_foo:foo), which {message}"
        )
        assert refusal(models, "genzoo-foo:foo").endswith(
            refusal(models, "foo").partition("which")[2]
        )
        assert "genzoo_foo" not in sys.modules
        assert "foo" not in models.available()
        assert "foo" not in models


# -- GENZOO_PLUGINS


def test_the_environment_variable_allows_or_forbids_plugins_by_name(install, models, monkeypatch):
    install(
        "genzoo-foo", "0.3", {"foo": "genzoo_foo:foo", "same": "genzoo_foo:foo"}, genzoo_foo=GOOD
    )
    install(
        "genzoo-bar", "0.3", {"bar": "genzoo_bar:foo", "same": "genzoo_bar:foo"}, genzoo_bar=GOOD
    )
    place = "models 'foo' comes from genzoo-foo 0.3 (genzoo_foo:foo), which is "
    for setting in ("off", " OFF ", "off"):
        monkeypatch.setenv("GENZOO_PLUGINS", setting)
        assert set(models.available()) == set(BUILT_IN["models"])
        assert (
            refusal(models, "foo")
            == place
            + "forbidden by GENZOO_PLUGINS=off: set GENZOO_PLUGINS=genzoo-foo to allow it alone"
        )
    for setting in ("genzoo-bar", "Genzoo.Bar, other", "genzoo__BAR,"):
        monkeypatch.setenv("GENZOO_PLUGINS", setting)
        assert set(models.available()) == {*BUILT_IN["models"], "bar", "same"}
        assert models.get("same").__module__ == "genzoo_bar", (
            "a forbidden plugin cannot clash with another"
        )
        assert (
            refusal(models, "foo")
            == place + "not named in GENZOO_PLUGINS: add genzoo-foo there to allow it"
        )
        assert "foo" not in models
    monkeypatch.setenv("GENZOO_PLUGINS", ",")
    assert set(models.available()) == set(BUILT_IN["models"])
    assert "genzoo_foo" not in sys.modules
    for setting in ("", None):
        monkeypatch.delenv("GENZOO_PLUGINS") if setting is None else monkeypatch.setenv(
            "GENZOO_PLUGINS", setting
        )
        assert {"foo", "bar", "same"} <= set(models.available())
        with pytest.raises(SettingError, match=r"is registered by genzoo-bar .* and genzoo-foo"):
            models.get("same")


def test_a_forbidden_name_can_be_registered_by_the_program(install, models, monkeypatch):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo=GOOD)
    monkeypatch.setenv("GENZOO_PLUGINS", "off")
    models.register("foo", Registry)
    assert models.get("foo") is Registry


# -- owners of names


@pytest.mark.parametrize("spelling", ["genzoo-foo", "genzoo_foo", "Genzoo.Foo", "genzoo--foo"])
def test_package_names_are_normalized(install, models, spelling):
    install("Genzoo_Foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo=GOOD)
    assert models.get(f"{spelling}:foo").__name__ == "foo"
    assert f"{spelling}:foo" in models
    assert plugins.normalized_name(spelling) == canonicalize_name(spelling)


def test_a_package_cannot_claim_the_full_name_of_another(install, models):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo=GOOD)
    names = dict.fromkeys(("genzoo-foo:foo", "genzoo:vae", "x:y"), "genzoo_bar:foo")
    install("genzoo-bar", "0.3", names, genzoo_bar=GOOD)
    assert models.get("genzoo-foo:foo").__module__ == "genzoo_foo"
    assert models.get("genzoo:vae").__module__ == "genzoo.models.vae"
    assert "which has a colon in the name" in refusal(models, "x:y")
    with pytest.raises(
        SettingError, match="a colon in the name, which is reserved for package:name"
    ):
        models.register("genzoo-foo:foo", Registry)


def test_a_package_found_twice_does_not_clash_with_itself(install, models):
    install(
        "genzoo-foo", "0.2", {"foo": "genzoo_foo:foo", "old": "genzoo_foo:foo"}, genzoo_foo=GOOD
    )
    # this copy comes first on the path
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo=GOOD)
    assert models.registration("foo").version == "0.3"
    assert "old" not in models, "the hidden copy registers nothing"
    assert len(models.registrations()["foo"]) == 1


def test_a_plugin_with_the_name_of_a_built_in_needs_its_full_name(install, tmp_path):
    install("genzoo-foo", "0.3", {"vae": "genzoo_foo:Mine"}, genzoo_foo=MODEL)
    assert registry("models").get("vae").__module__ == "genzoo.models.vae"
    assert [source.distribution for source in registry("models").registrations()["vae"]] == [
        "genzoo",
        "genzoo-foo",
    ]
    plugin_class = registry("models").get("genzoo-foo:vae")
    for model in (
        plugin_class(),
        plugin_class(size=2),
        genzoo.load("genzoo-foo:vae"),
        genzoo.build({"name": "genzoo-foo:vae"}),
    ):
        assert model.config["name"] == "genzoo-foo:vae"
    run = genzoo.fit(
        plugin_class(), "digits", tmp_path / "run", steps=2, batch_size=8, progress=False
    )
    assert 'name = "genzoo-foo:vae"' in (tmp_path / "run" / "recipe.toml").read_text()
    again = genzoo.load(tmp_path / "run")
    assert type(again) is plugin_class
    assert torch.equal(again.mean, run.model.mean)
    recipe = RunFolder(tmp_path / "run").recipe()
    assert genzoo.fit(recipe["model"], recipe["data"], steps=1, batch_size=8).steps == 1


def test_an_instance_of_an_ambiguous_class_is_saved_by_its_full_name(install):
    for name in ("foo", "bar"):
        install(
            f"genzoo-{name}", "0.3", {"same": f"genzoo_{name}:Mine"}, **{f"genzoo_{name}": MODEL}
        )
    for name in ("foo", "bar"):
        model = registry("models").get(f"genzoo-{name}:same")()
        assert model.config["name"] == f"genzoo-{name}:same"
        assert type(genzoo.build(model.config)) is type(model)


def test_a_name_registered_twice_by_one_package_is_refused(install, models):
    entries = "[genzoo_models]\nfoo = genzoo_foo:bar\nbar = genzoo_foo:foo"
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, entries=entries, genzoo_foo=GOOD)
    assert "registers the name twice (genzoo_foo:foo, genzoo_foo:bar)" in refusal(models, "foo")
    assert models.get("bar").__name__ == "foo"


# -- malformed metadata


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("genzoo foo", "has a malformed entry point: expected module:attribute"),
        ("genzoo_foo", "has a malformed entry point: expected module:attribute"),
        ("../evil:run", "has a malformed entry point"),
        (":foo", "has a malformed entry point"),
        ("", "has a malformed entry point"),
        ("os.path:join()", "has a malformed entry point"),
    ],
)
def test_a_malformed_entry_point_is_refused_by_name(install, models, value, message):
    install("genzoo-foo", "0.3", {"foo": value, "good": "genzoo_foo:foo [extra]"}, genzoo_foo=GOOD)
    assert f"models 'foo' comes from genzoo-foo 0.3 ({value}), which {message}" in refusal(
        models, "foo"
    )
    assert models.get("good").__name__ == "foo"


@pytest.mark.parametrize(
    "metadata",
    ["", "Version: 1\n", "Name:\n", "Name: not a name\nVersion: 1\n", "\x00\xff", "Name: a:b\n"],
)
def test_a_package_without_a_name_is_refused_and_breaks_nothing(
    install, models, monkeypatch, metadata, genzoo_
):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, metadata=metadata, genzoo_foo=GOOD)
    monkeypatch.delenv("GENZOO_PLUGINS")
    assert "comes from an unnamed package" in refusal(models, "foo")
    assert "foo" not in models.available()
    assert genzoo_("list")[0] == 0
    with pytest.raises(SettingError, match="Did you mean 'wae-mmd'"):
        models.get("wae-mdm")


def test_a_package_without_a_version_works(install, models):
    install(
        "genzoo-foo",
        "0.3",
        {"foo": "genzoo_foo:foo"},
        metadata="Name: genzoo-foo\n",
        genzoo_foo=GOOD,
    )
    assert models.get("foo").__name__ == "foo"
    assert str(models.registration("foo")) == "genzoo-foo (genzoo_foo:foo)"


def test_malformed_entry_points_do_not_affect_other_packages(tmp_path):
    """A malformed file of one package affects neither the import of genzoo nor the other names."""
    info = tmp_path / "junk-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: junk\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[genzoo_models]\nno equals sign\n[\n= nothing\nfine = junk:Fine\n\x1b[31mred = junk:Red\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "GENZOO_PLUGINS": "junk"}
    command = [sys.executable, "-m", "genzoo", "list", "models"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert "there is no module 'junk'" in rows["fine"]
    assert {"vae", "gan"} <= set(rows)
    assert "\x1b" not in done.stdout, "names are printed without control characters"


junk = st.text(max_size=12) | st.sampled_from(
    [
        "vae",
        "foo",
        "genzoo",
        "genzoo-a",
        "a:b",
        "[x]",
        "=",
        "#",
        "1.0",
        "2.0",
        "1",
        "genzoo_models",
        "os:system",
        "vae = a:b",
        "here",
    ]
)
values = junk | st.sampled_from(
    ["genzoo_foo:foo", "genzoo.models.gan:GAN", "m:a.b", "m : a", "m:a [x,y]", "m", ":", "é:é"]
)
groups = (
    st.sampled_from([*(f"genzoo_{kind}" for kind in KINDS), "genzoo_contract", "console_scripts"])
    | junk
)
packages = st.lists(
    st.tuples(
        junk,
        junk,
        st.lists(st.tuples(groups, junk, values), max_size=5),
        st.text(max_size=30),
        st.booleans(),
    ),
    max_size=3,
)


@pytest.mark.slow
@given(
    packages=packages, policy=st.sampled_from([None, "", "off", "genzoo-a", "foo,genzoo"]) | junk
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_metadata_can_break_the_built_ins(packages, policy, tmp_path_factory, monkeypatch):
    sites = []
    for name, version, points, noise, as_bytes in packages:
        site = tmp_path_factory.mktemp("site")
        info = site / f"{'x' if as_bytes else ''}-{version.encode().hex()}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_bytes(
            text.encode("utf-16" if as_bytes and noise else "utf-8", "surrogatepass")
        )
        lines = [f"[{group}]\n{key} = {value}" for group, key, value in points]
        (info / "entry_points.txt").write_bytes(
            "\n".join([*lines, noise]).encode("utf-8", "surrogatepass")
        )
        sites.append(str(site))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [*sites, *sys.path])
        if policy is None or "\0" in policy:
            patch.delenv("GENZOO_PLUGINS", raising=False)
        else:
            patch.setenv("GENZOO_PLUGINS", policy)
        before = set(sys.modules)
        for kind in KINDS:
            names = Registry(kind)
            sources = names.registrations()
            for name in BUILT_IN[kind]:
                assert (
                    names.registration(name).value == sources[name][0].value == BUILT_IN[kind][name]
                )
            usable = set(names.available())
            assert set(BUILT_IN[kind]) <= usable <= set(sources)
            for name in sources:
                try:
                    source = names.registration(name)
                except GenzooError:
                    continue
                assert not source.blocked_because
                assert name in usable
            for claim in (claim for claims in sources.values() for claim in claims):
                assert str(claim).isprintable()
                metadata_problem(claim)
        list(listing._rows("models", "*"))
        assert not {
            module
            for module in set(sys.modules) - before
            if module.startswith(("genzoo_", "m", "os", "é"))
        }
    for site in sites:
        shutil.rmtree(site)


# -- problems that metadata show


@pytest.mark.parametrize(
    ("requires", "value", "message"),
    [
        (["torch"], "genzoo_foo:foo", ""),
        (["nosuchlib>=2"], "genzoo_foo:foo", "it requires nosuchlib>=2, which is not installed"),
        (
            ["torch<1"],
            "genzoo_foo:foo",
            f"it requires torch<1, and {torch.__version__} is installed",
        ),
        (
            ["Torch>=99,!=99.1"],
            "genzoo_foo:foo",
            f"it requires Torch!=99.1,>=99, and {torch.__version__} is installed",
        ),
        (
            ["genzoo>=99"],
            "genzoo_foo:foo",
            f"it requires genzoo>=99, and {genzoo.__version__} is installed",
        ),
        (["genzoo", "torch>=2"], "genzoo_foo:foo", ""),
        (["nosuchlib; python_version < '3'"], "genzoo_foo:foo", ""),
        (
            ["nosuchlib; python_version > '3'"],
            "genzoo_foo:foo",
            "it requires nosuchlib, which is not installed",
        ),
        (["nosuchlib; extra == 'plots'"], "genzoo_foo:foo", ""),
        (
            ["nosuchlib; extra == 'plots'"],
            "genzoo_foo:foo [plots]",
            "it requires nosuchlib, which is not installed",
        ),
        (
            ["genzoo-bar[more]"],
            "genzoo_foo:foo",
            "it requires nosuchlib>3, which is not installed (genzoo-bar[more])",
        ),
        (["genzoo-bar"], "genzoo_foo:foo", ""),
        (
            ["not a requirement!"],
            "genzoo_foo:foo",
            "it requires 'not a requirement!', which is malformed",
        ),
        ([], "genzoo_nowhere.deep:foo", "there is no module 'genzoo_nowhere'"),
    ],
)
def test_metadata_show_missing_requirements(install, models, requires, value, message):
    install(
        "genzoo-bar",
        "1",
        {},
        requires=["nosuchlib>3; extra == 'more'", "alsonot; extra == 'other'"],
        genzoo_bar="",
    )
    install(
        "genzoo-foo",
        "0.3",
        {"foo": value},
        requires=requires,
        genzoo_foo="raise RuntimeError('imported')",
    )
    assert metadata_problem(models.registration("foo")) == message
    assert "genzoo_foo" not in sys.modules


# -- imports in a subprocess


@pytest.mark.slow
def test_imports_are_tried_in_a_subprocess(install):
    install(
        "genzoo-foo",
        "0.3",
        {"foo": "genzoo_foo:foo", "lost": "genzoo_foo:lost"},
        genzoo_foo=GOOD + "\nprint('hello')",
    )
    install(
        "genzoo-dies",
        "1",
        {"dies": "genzoo_dies:X", "too": "genzoo_dies:Y"},
        genzoo_dies="import os; os._exit(4)",
    )
    install(
        "genzoo-killed",
        "1",
        {"killed": "genzoo_killed:X"},
        genzoo_killed="import os; os.kill(os.getpid(), 11)",
    )
    install(
        "genzoo-exits", "1", {"exits": "genzoo_exits:X"}, genzoo_exits="import sys; sys.exit(3)"
    )
    thread = "import threading, time; threading.Timer(600, print).start(); X = dict"
    install("genzoo-thread", "1", {"thread": "genzoo_thread:X"}, genzoo_thread=thread)
    claims = registry("models").registrations()
    names = ["foo", "lost", "dies", "too", "killed", "exits", "thread", "vae"]
    problems = {
        source.name: reason
        for source, reason in try_imports((claims[name][0] for name in names), limit=10_000).items()
    }
    assert problems == {
        "foo": "",
        "lost": "AttributeError: module 'genzoo_foo' has no attribute 'lost'",
        "dies": "its import ends the process, with exit code 4",
        "too": "not tried: it comes after 'dies' of the same package",
        "killed": "its import ends the process, with SIGSEGV",
        "exits": "SystemExit: 3",
        "thread": "",
        "vae": "",
    }
    assert not {module for module in sys.modules if module.startswith("genzoo_")} & {
        f"genzoo_{name}" for name in names
    }


def test_an_endless_import_is_stopped(install):
    install(
        "genzoo-slow", "1", {"slow": "genzoo_slow:X"}, genzoo_slow="import time; time.sleep(1e6)"
    )
    (source,) = registry("models").registrations()["slow"]
    assert try_imports([source], limit=0.5) == {source: "its import takes longer than 0.5 s"}


def test_waiting_for_a_busy_processor_does_not_count_as_import_time(install, monkeypatch):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:foo"}, genzoo_foo=GOOD)
    (source,) = registry("models").registrations()["foo"]
    assert try_imports([source], limit=0) == {source: "its import takes longer than 0 s"}
    monkeypatch.setattr("genzoo.registry.diagnose._starved", lambda pid: 10_000.0)
    assert try_imports([source], limit=0) == {source: ""}


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="the system does not report it"
)
def test_the_waiting_time_of_a_process_is_read_from_the_system(monkeypatch):
    monkeypatch.setattr(
        Path, "read_text", lambda path: {"/proc/7/schedstat": "5000000 2500000000 12\n"}[str(path)]
    )
    assert _starved(7) == 2.5


# -- what a run needs


@pytest.mark.slow
def test_a_run_records_the_packages_of_all_its_parts(install, tmp_path, monkeypatch):
    install("genzoo-foo", "0.3", {"foo": "genzoo_foo:Mine"}, genzoo_foo=MODEL)
    install(
        "genzoo-still", "1.2", {"still": "genzoo_still:Still"}, kind="priors", genzoo_still=PRIOR
    )
    genzoo.fit(
        {"name": "wae-gan", "prior": "still"},
        "digits",
        tmp_path / "a",
        steps=1,
        batch_size=8,
        progress=False,
    )
    genzoo.fit("foo", "digits", tmp_path / "b", steps=1, batch_size=8, progress=False)
    genzoo.fit("vae", "digits", tmp_path / "c", steps=1, batch_size=8, progress=False)
    needs = {
        name: RunFolder(tmp_path / name)
        .recipe_file.read_text()
        .partition("needs = ")[2]
        .splitlines()[0]
        for name in "abc"
    }
    assert needs == {
        "a": "[\"priors 'still' from genzoo-still 1.2\"]",
        "b": "[\"models 'foo' from genzoo-foo 0.3\"]",
        "c": "[]",
    }
    monkeypatch.setenv("GENZOO_PLUGINS", "off")
    with pytest.raises(PluginError) as caught:
        genzoo.load(tmp_path / "b")
    assert str(caught.value) == (
        "models 'foo' comes from genzoo-foo 0.3 (genzoo_foo:Mine), which is forbidden by "
        "GENZOO_PLUGINS=off: set GENZOO_PLUGINS=genzoo-foo to allow it alone. "
        "The run says that it needs models 'foo' from genzoo-foo 0.3. "
        "If you trust where it comes from: pip install genzoo-foo==0.3."
    )
    monkeypatch.setattr(
        sys, "path", [entry for entry in sys.path if not entry.startswith(str(tmp_path))]
    )
    with pytest.raises(
        SettingError,
        match=r"No prior named 'still'\. .*it needs priors 'still' from genzoo-still 1\.2\. If",
    ):
        genzoo.load(tmp_path / "a")


def test_a_run_records_the_program_that_registered_its_model(tmp_path, monkeypatch):
    module = type(sys)("somewhere")
    exec(compile(REGISTERED, "somewhere.py", "exec"), vars(module))
    monkeypatch.setitem(sys.modules, "somewhere", module)
    genzoo.fit("mine", "digits", tmp_path / "run", steps=1, batch_size=8, progress=False)
    registry("models").unregister("mine")
    with pytest.raises(
        SettingError,
        match=r"needs models 'mine' registered in somewhere "
        r"\(import the module that defines it first\)\.",
    ):
        genzoo.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("needs", "shown"),
    [
        ("[\"models 'x' from evil; rm -rf 1.0\"]", "evil; rm -rf 1.0."),
        ('["a\\u001b[31mb", "ok"]', "that it needs ok."),
        ('"text"', None),
        ("[1, 2]", None),
        ("{}", None),
    ],
)
def test_requirements_in_a_recipe_are_only_displayed(tmp_path, needs, shown):
    (tmp_path / "recipe.toml").write_text(
        f'[model]\nname = "x"\n[data]\nname = "digits"\n[run]\nformat = 3\nneeds = {needs}\n'
    )
    with pytest.raises(SettingError) as caught:
        genzoo.load(tmp_path)
    assert str(caught.value).endswith(
        shown or "Known: " + str(caught.value).partition("Known: ")[2]
    )
    assert "pip install" not in str(caught.value)


# -- nothing in a run folder is executed

PAYLOAD = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()\n" + MODEL


@pytest.fixture
def trap(tmp_path):
    """Return a run folder with every file that an attacker might hope is executed."""
    folder = tmp_path / "run"
    genzoo.fit("vae", "digits", folder, steps=1, batch_size=8, progress=False)
    for name in (
        "sitecustomize",
        "usercustomize",
        "evil",
        "my_model",
        "torch",
        "genzoo",
        "genzoo_evil",
        "conftest",
    ):
        (folder / f"{name}.py").write_text(PAYLOAD)
    (folder / "evil.pth").write_text("import evil\n")
    info = folder / "genzoo_evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genzoo-evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[genzoo_models]\nevil = genzoo_evil:Mine\n")
    (folder / "evil-2.0.egg-info").mkdir()
    (folder / "evil-2.0.egg-info" / "PKG-INFO").write_text("Name: evil\nVersion: 2.0\n")
    (folder / "evil-2.0.egg-info" / "entry_points.txt").write_text(
        "[genzoo_models]\nevil2 = evil:Mine\n"
    )
    return folder


def ran(folder):
    return sorted(path.name for path in folder.rglob("*.ran"))


NAMES = (
    "evil",
    "evil2",
    "genzoo-evil:evil",
    "genzoo_evil:Mine",
    "os:system",
    "my_model.py",
    "./my_model.py",
    "evil.Mine",
    "os.system",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_causes_no_import(trap, monkeypatch, name, genzoo_):
    monkeypatch.delenv("GENZOO_PLUGINS")
    monkeypatch.chdir(trap)
    monkeypatch.syspath_prepend("")
    text = trap.joinpath("recipe.toml").read_text()
    for old in ('name = "vae"', 'name = "normal"'):
        assert old in text
        (trap / "recipe.toml").write_text(text.replace(old, f'name = "{name}"', 1))
        with pytest.raises(SettingError, match=rf"^No (model|prior) named '{name}'"):
            genzoo.load("./")
        code, printed = genzoo_("train", "recipe.toml", "--out", "again")
        assert (code, "named" in printed) == (2, True)
    assert not {"genzoo_evil", "evil", "my_model"} & set(sys.modules)
    assert ran(trap) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "gone"),
    [
        (
            ["-m", "genzoo"],
            ["genzoo.py"],
        ),  # Python itself runs a module of that name in the folder
        (["-c", "from genzoo.cli.app import main; main()"], ["genzoo.py", "torch.py"]),
        (["-P", "-m", "genzoo"], []),
    ],
)
def test_no_file_of_a_run_folder_runs_inside_it(trap, way, gone):
    environment = {name: value for name, value in os.environ.items() if name != "GENZOO_PLUGINS"}
    for name in gone:
        (trap / name).unlink()
    for command in (["list"], ["sample", ".", "-n", "2", "-o", "s.npy"]):
        done = subprocess.run(
            [sys.executable, *way, *command],
            cwd=trap,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "evil" not in done.stdout
    assert ran(trap) == []


@pytest.mark.slow
def test_a_pickle_is_refused_as_a_checkpoint(trap):
    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(trap / "pickle.ran"),))

    for path in (*(trap / "checkpoints").iterdir(), trap / "model.safetensors"):
        path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(RunError, match=r"damaged|weights"):
        genzoo.load(trap)
    torch.save({"format": 1, "payload": Payload()}, trap / "checkpoints" / "step-000002.ckpt")
    with pytest.raises(RunError):
        genzoo.load(trap)
    assert ran(trap) == []


def test_off_also_forbids_a_package_named_off(install, models, monkeypatch):
    install("off", "1.0", {"dark": "off_module:A"}, off_module="raise RuntimeError('imported')")
    monkeypatch.setenv("GENZOO_PLUGINS", "off")
    assert "forbidden by GENZOO_PLUGINS=off" in refusal(models, "dark")


def test_a_contract_version_below_one_is_refused(install, models):
    install(
        "genzoo-foo",
        "1.0",
        {"foo": "genzoo_foo:A"},
        contract=["0.0"],
        genzoo_foo="raise RuntimeError('imported')",
    )
    assert "needs contract 0.0 of genzoo, but this genzoo has 1.0: upgrade genzoo-foo" in refusal(
        models, "foo"
    )


@pytest.mark.parametrize("name", ["genzoo", "GenZoo"])
def test_no_other_package_can_be_genzoo(install, models, name):
    install(name, "9.9", {"foo": "genzoo_foo:A"}, genzoo_foo="A = dict")
    assert "foo" not in models.registrations()


def test_only_the_first_copy_of_a_package_counts(install, models):
    """Python imports the first copy on the path, so only the names of that copy count."""
    install("genzoo-foo", "1.0", {"foo": "genzoo_foo:A"}, genzoo_foo="A = dict")
    site = install("genzoo-foo", "2.0", {}, genzoo_foo="A = list")
    (site / "genzoo_foo-2.0.dist-info" / "entry_points.txt").write_text("")
    assert "foo" not in models.registrations()


def test_a_class_reexported_by_its_entry_point_is_recognized(install):
    source = "from genzoo_inner import Inner as Outer"
    inner = "def Inner(shape): ..."
    install("genzoo-foo", "1.0", {"foo": "genzoo_foo:Outer"}, genzoo_foo=source, genzoo_inner=inner)
    constructor = registry("models").get("foo")
    assert constructor.__module__ == "genzoo_inner"
    assert registry("models").name_of(constructor) == "foo"


@pytest.mark.slow
def test_a_failing_plugin_metric_does_not_affect_other_metrics(
    install, tmp_path, monkeypatch, genzoo_
):
    run = tmp_path / "run"
    genzoo.fit("vae", "digits", run, steps=1, batch_size=8, progress=False)
    install(
        "genzoo-bad",
        "1.0",
        {"bad": "genzoo_bad:A"},
        "metrics",
        genzoo_bad="import sys; sys.exit(3)",
    )
    install("genzoo-odd", "1.0", {"odd": "genzoo_odd:A"}, "metrics", genzoo_odd="class A: pass")
    for twin in "xy":
        install(
            f"genzoo-{twin}",
            "1.0",
            {"twin": f"genzoo_{twin}:A"},
            "metrics",
            **{f"genzoo_{twin}": "A = dict"},
        )
    code, text = genzoo_("evaluate", run, "--limit", 20)
    assert code == 0, text
    for expected in (
        "squared_error",
        "note: bad: ",
        "SystemExit: 3",
        "note: odd: AttributeError",
        "note: twin: ",
        "Write 'genzoo",
    ):
        assert expected in text
    code, text = genzoo_("evaluate", run, "bad")
    assert (code, "SystemExit: 3" in text) == (2, True)


@pytest.mark.slow
def test_reading_the_revision_runs_no_program_of_the_folder(tmp_path, monkeypatch):
    folder = tmp_path / "there"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for arguments in (
        "init -q",
        "config user.email a@b.c",
        "config user.name n",
        "commit -q --allow-empty -m x",
    ):
        subprocess.run(["git", *arguments.split()], check=True)
    (folder / "file").write_text("1")
    subprocess.run(["git", "add", "file"], check=True)
    hook = tmp_path / "ran"
    subprocess.run(["git", "config", "core.fsmonitor", f"touch {hook}; false"], check=True)
    subprocess.run(["git", "config", "filter.f.clean", f"touch {hook}; cat"], check=True)
    (folder / ".gitattributes").write_text("* filter=f\n")
    (folder / "file").write_text("2")
    genzoo.fit("vae", "digits", "run", steps=1, batch_size=8, progress=False)
    assert 'git = "' in (folder / "run" / "recipe.toml").read_text()
    assert not hook.exists()


def test_an_invalid_marker_is_reported(install, models):
    install(
        "genzoo-foo",
        "1.0",
        {"foo": "genzoo_foo:A"},
        requires=["numpy; platform_system ~= 'Linux'"],
        genzoo_foo="A = dict",
    )
    assert "and its marker cannot be evaluated" in metadata_problem(models.registration("foo"))


def test_a_plugin_that_forks_or_forges_its_report_cannot_hide_failures(install, models):
    forks = "import os\nif os.fork() == 0: pass\ndef A(): ..."
    written = "no line of ours\\n[1]\\n"
    forges = (
        "import sys\nfor w in sys.argv:\n"
        f"    if w.endswith('report'): open(w, 'a').write('{written}')\ndef A(): ..."
    )
    install(
        "genzoo-fork",
        "1.0",
        {"a": "genzoo_fork:A", "b": "genzoo_b:B"},
        genzoo_fork=forks,
        genzoo_b="raise ValueError('b')",
    )
    install("genzoo-forge", "1.0", {"c": "genzoo_forge:A"}, genzoo_forge=forges)
    problems = {
        source.name: why
        for source, why in try_imports([models.registration(name) for name in "abc"]).items()
    }
    assert problems == {"a": "", "b": "ValueError: b", "c": ""}
