"""Fixtures and settings of all tests: a fixed seed, one thread, the command, and fake packages."""

import importlib
import io
import os
import signal
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it

import pytest
import torch
from hypothesis import settings

from tests import fast_python

settings.register_profile("genzoo", deadline=None, derandomize=True, max_examples=40, database=None)
settings.load_profile("genzoo")
torch.set_num_threads(1)
# A background job ignores Ctrl-C, and one of nohup also ignores hangups.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist share one server
        fast_python.open_session()
        config.add_cleanup(fast_python.close_session)


def pytest_collection_modifyitems(items):
    """Mark tests as slow if they use the server of Python processes, or are checks that compile."""
    for item in items:
        uses_server = "python" in getattr(item, "fixturenames", ())
        compiles = item.name.startswith("test_conforms[") and "compile-" in item.name
        if uses_server or compiles:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _seed():
    # `torch.manual_seed` takes milliseconds, because it formats a traceback for every device type.
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(0)
        yield


@pytest.fixture(autouse=True)
def _blank_figures(request, monkeypatch):
    """Build figures but save one blank pixel, unless the test is marked `figures`.

    Every run writes its curves, and drawing them takes longer than the few steps of a test.
    """
    figure = sys.modules.get("matplotlib.figure")
    if figure is None or request.node.get_closest_marker("figures"):
        return

    def savefig(self, file, format="png", **_):
        from PIL import Image

        if isinstance(file, io.BytesIO):
            file.write(b"<svg/>")
        elif format == "svg":
            Path(file).write_text("<svg/>")
        else:
            Image.new("L", (1, 1)).save(file, format)

    monkeypatch.setattr(figure.Figure, "savefig", savefig)


@pytest.fixture(autouse=True)
def _no_events(request, monkeypatch):
    """Write TensorBoard events only in the tests of its logger, and where they are asked for.

    Opening and closing their file takes as long as the few steps of a test.
    """
    loggers = sys.modules.get("genzoo.train.loggers")
    if loggers is not None and "tensorboard" not in request.node.path.stem:
        monkeypatch.setattr(loggers, "find_spec", lambda _: None)


@pytest.fixture(scope="session")
def python():
    """Return the path of a Python interpreter that starts quickly; tests that use it are slow.

    `tests.fast_python` explains how it differs from `sys.executable`.
    """
    return fast_python.fast_python()


@pytest.fixture
def import_from(monkeypatch):
    """Import scripts by name from a folder, and forget them after the test."""
    before = set(sys.modules)
    folders = set()

    def import_from(folder, name):
        monkeypatch.syspath_prepend(folder)
        folders.add(str(folder))
        return importlib.import_module(name)

    yield import_from
    for name in set(sys.modules) - before:
        file = str(getattr(sys.modules[name], "__file__", ""))
        if file.startswith(tuple(folders)):
            del sys.modules[name]


@pytest.fixture
def genzoo_(capsys, monkeypatch):
    """Return a function that runs the command here; it returns the exit code and the output."""
    from genzoo.cli.app import main

    def run(*arguments) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["genzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return stop.value.code or 0, printed.out + printed.err

    return run


@pytest.fixture
def without_pictures(monkeypatch):
    """Write no figures, which take longer than small games."""
    monkeypatch.setattr("genzoo.train.artifacts.can_plot", lambda: False)
    monkeypatch.setattr("genzoo.train.artifacts.picture", lambda *_: None)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write the files of an installed package; genzoo sees only packages from this fixture.

    `install("genzoo-foo", "0.3", {"foo": "genzoo_foo:Foo"}, genzoo_foo="Foo = ...")` registers the
    model `foo`. A test of `GENZOO_PLUGINS` sets the variable after the last call.
    """
    modules_installed, distributions = [], []
    monkeypatch.setenv("GENZOO_PLUGINS", "off")

    def install(
        distribution,
        version,
        names,
        kind="models",
        *,
        contract=(),
        requires=(),
        entries="",
        metadata=None,
        **modules,
    ):
        # Use a new folder for every package, because metadata are cached by a folder's change time.
        site = tmp_path / f"site-{len(distributions)}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata is None:
            lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
            lines += [f"Requires-Dist: {requirement}" for requirement in requires]
            metadata = "\n".join([*lines, ""])
        (info / "METADATA").write_text(metadata)
        points = [f"[genzoo_{kind}]", *(f"{name} = {value}" for name, value in names.items())]
        module = next(iter(modules), "nowhere")
        points += ["[genzoo_contract]", *(f"{number} = {module}" for number in contract)]
        (info / "entry_points.txt").write_text("\n".join([*points, entries, ""]))
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
            modules_installed.append(module)
        distributions.append(distribution)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("GENZOO_PLUGINS", ",".join(distributions))
        return site

    yield install
    for module in modules_installed:
        sys.modules.pop(module, None)
