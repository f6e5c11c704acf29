"""Python files that register names, in Python and with `--plugin`."""

import hashlib
import sys

import pytest

import genzoo
from genzoo.errors import PluginError, SettingError
from genzoo.registry import plugin_files
from genzoo.registry.lookup import registries, registry
from tests.registry.sources import REGISTERED

pytestmark = pytest.mark.usefixtures("no_plugins")


def test_a_plugin_file_registers_names(tmp_path, genzoo_, monkeypatch):
    file = tmp_path / "my-model.py"
    file.write_text(REGISTERED)
    module = plugin_files.load_file(file)
    assert registry("models").get("mine") is module.Mine
    assert sys.modules[module.__name__] is module
    source = registry("models").registration("mine")
    assert (source.distribution, source.origin) == (str(file), "file")
    assert not (tmp_path / "__pycache__").exists()
    assert genzoo.load("mine", size=2).config == {"name": "mine", "size": 2, "shape": (1, 8, 8)}
    with pytest.raises(SettingError, match=r"model\.size = \"many\": expected an integer"):
        genzoo.load("mine", size="many")
    code, text = genzoo_("list", "models", "mine")
    assert (code, f"models  mine  {file}" in text) == (0, True)
    assert f"{file}, line 7" in genzoo_("info", "mine")[1].replace("\n", " ")


def test_a_changed_plugin_file_is_loaded_again(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(REGISTERED)
    first = plugin_files.load_file(file).Mine
    second = plugin_files.load_file(str(file)).Mine
    assert first is not second
    assert registry("models").get("mine") is second
    file.write_text(REGISTERED.replace('"mine"', '"yours"'))
    plugin_files.load_file(file)
    assert "mine" not in registry("models"), "names that the file no longer registers are removed"
    assert "yours" in registry("models")
    file.write_text("1 / 0")
    with pytest.raises(PluginError):
        plugin_files.load_file(file)
    assert "yours" not in registry("models")


def test_two_plugin_files_cannot_share_a_name(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(REGISTERED)
    plugin_files.load_file(tmp_path / "a.py")
    with pytest.raises(
        PluginError, match=r"b\.py, line 7: SettingError: models 'mine' is taken by .*a\.py"
    ):
        plugin_files.load_file(tmp_path / "b.py")
    assert registry("models").registration("mine").distribution == str(tmp_path / "a.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import genzoo\n\n1 / 0", ", line 3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", ", line 2: SystemExit: 3"),
        ("x = 1\nclass", ", line 2: SyntaxError: invalid syntax"),
        ("def f():\n    import nosuchlib\nf()", ", line 2: No module named 'nosuchlib'"),
        ("import json\njson.loads('{')", ", line 2: JSONDecodeError: "),
        ("x = 1", " registers nothing: put a decorator such as @genzoo.models.register"),
        ("", " registers nothing"),
        ("\0", "null bytes"),
        ("raise ValueError('two\\nlines')", ", line 1: ValueError: two lines"),
        (None, ": No such file or directory"),
    ],
)
def test_an_unusable_plugin_file_is_a_one_line_error(
    tmp_path, monkeypatch, genzoo_, source, message
):
    monkeypatch.chdir(tmp_path)
    if source is not None:
        (tmp_path / "mine.py").write_text(source)
    before = set(sys.modules)
    code, text = genzoo_("list", "--plugin", "mine.py")
    assert (code, len(text.strip().splitlines())) == (2, 1), text
    assert text.startswith("error: mine.py")
    assert message in text
    assert not [name for name in set(sys.modules) - before if name.startswith("mine_")]


def test_a_plugin_file_must_be_a_python_file(tmp_path, genzoo_):
    code, text = genzoo_("list", "--plugin", tmp_path / "mine.txt")
    assert (code, "expected a Python file, with a name that ends in .py" in text) == (2, True)


def test_an_interrupt_is_not_reported_as_a_file_error(tmp_path):
    (tmp_path / "mine.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugin_files.load_file(tmp_path / "mine.py")


COMMANDS = [
    "train",
    "sample",
    "complete",
    "reconstruct",
    "interpolate",
    "arithmetic",
    "translate",
    "evaluate",
    "list",
    "info",
    "check",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_accepts_names_accepts_plugin_files(genzoo_, command):
    code, text = genzoo_(command, "--help")
    assert code == 0
    assert "--plugin FILE" in " ".join(text.split())


@pytest.mark.slow
def test_a_run_records_its_plugin_file(tmp_path, monkeypatch, genzoo_):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(REGISTERED)
    (tmp_path / "my_data.py").write_text(
        "import genzoo, torch\n\n@genzoo.datasets.register('gray')\ndef gray(rows: int = 64):\n"
        "    x = torch.full((rows, 1, 8, 8), 0.5)\n    return genzoo.Dataset({'x': x}, {'x': x})\n"
    )
    both = ("--plugin", "my_model.py", "--plugin", "my_data.py")
    code, text = genzoo_(
        "train",
        "gray",
        "--model",
        "mine",
        "--steps",
        3,
        "train.batch_size=8",
        "--out",
        "run",
        *both,
    )
    assert code == 0, text
    digest = hashlib.sha256((tmp_path / "my_model.py").read_bytes()).hexdigest()[:16]
    need = f"models 'mine' from the file my_model.py (sha256 {digest}; --plugin my_model.py)"
    recipe = (tmp_path / "run" / "recipe.toml").read_text()
    assert need in recipe
    assert "datasets 'gray' from the file my_data.py (sha256 " in recipe
    assert genzoo_("sample", "run", "-n", 2, "-o", "s.npy", *both)[0] == 0
    assert genzoo_("evaluate", "run", *both)[0] == 0
    for kind in ("models", "datasets"):
        monkeypatch.setattr(registries[kind], "_registered", {})
    for command in (("sample", "run"), ("evaluate", "run")):
        code, text = genzoo_(*command)
        assert (code, len(text.strip().splitlines())) == (2, 1)
        assert text.startswith("error: No model named 'mine'. ")
        assert f" The run says that it needs {need}; datasets 'gray' from" in text
    code, text = genzoo_("evaluate", "run", "--plugin", "my_model.py")
    assert (
        code,
        text.startswith("error: No dataset named 'gray'."),
        "--plugin my_data.py" in text,
    ) == (2, True, True)
