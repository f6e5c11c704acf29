"""All tests: a fixed seed, a single thread, Hypothesis without chance or deadlines; and packages as an installer leaves them."""

import signal
import sys

import pytest
import torch
from hypothesis import settings

settings.register_profile("genzoo", deadline=None, derandomize=True, max_examples=40, database=None)
settings.load_profile("genzoo")
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package: `install("genzoo-foo", "0.3", {"foo": "genzoo_foo:Foo"}, genzoo_foo="Foo = ...")`.

    Of the plugins on this machine only those that were installed so can be seen; a test that speaks of `GENZOO_PLUGINS` sets it
    afterwards.
    """
    installed, names_ = [], []
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
        site = (
            tmp_path / f"site-{len(names_)}"
        )  # a folder of its own: metadata are cached by a folder's time, which is coarse
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [f"Requires-Dist: {need}" for need in requires]
        stated = "\n".join(
            ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}", *lines, ""]
        )
        (info / "METADATA").write_text(stated if metadata is None else metadata)
        points = [f"[genzoo_{kind}]", *(f"{name} = {value}" for name, value in names.items())]
        points += [
            "[genzoo_contract]",
            *(f"{version} = {next(iter(modules), 'nowhere')}" for version in contract),
        ]
        (info / "entry_points.txt").write_text("\n".join([*points, entries, ""]))
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
            installed.append(module)
        names_.append(distribution)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("GENZOO_PLUGINS", ",".join(names_))
        return site

    yield install
    for module in installed:
        sys.modules.pop(module, None)
