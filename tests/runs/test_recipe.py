"""Tests of recipes and overrides; `tomllib` is the oracle for what is written."""

import os
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genzoo.errors import SettingError
from genzoo.runs.recipe import checked, differences, dumps, override, read, training_seconds

KEYS = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(lambda key: key != "name")
VALUES = st.one_of(
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12),
    st.lists(st.integers(0, 9), max_size=4),
)
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=4),
    lambda inner: st.dictionaries(KEYS, inner | VALUES, max_size=4),
    max_leaves=12,
)


@given(TABLES)
def test_a_written_recipe_is_read_back(table):
    assert tomllib.loads(dumps(table)) == table


@given(TABLES)
def test_none_is_omitted_and_tuples_become_lists(table):
    assert tomllib.loads(dumps({**table, "absent": None, "pair": (1, 2)})) == {
        **table,
        "pair": [1, 2],
    }


@given(
    TABLES,
    st.lists(KEYS, min_size=1, max_size=3, unique=True),
    st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(-9, 9),
)
def test_an_override_sets_one_value_and_changes_nothing_else(table, path, value):
    clean = {k: v for k, v in table.items() if k != path[0]}
    text = f"{'.'.join(path)}={str(value).lower()}"
    result = override(clean, [text])
    actual = result
    for key in path:
        actual = actual[key]
    assert actual == value
    assert type(actual) is type(value)
    assert {k: v for k, v in result.items() if k != path[0]} == clean
    assert path[0] not in clean


def test_overrides_do_not_change_the_original():
    recipe = {"model": {"prior": {"name": "mog", "components": 10}}}
    override(recipe, ["model.prior.components=20"])
    assert recipe == {"model": {"prior": {"name": "mog", "components": 10}}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.prior=normal", {"prior": "normal"}),
        ('model.prior="normal"', {"prior": "normal"}),
        ("model.prior.components=20", {"prior": {"name": "mog", "components": 20}}),
        ("model.hidden=[512, 256]", {"prior": {"name": "mog"}, "hidden": [512, 256]}),
        ("model.lr=1e-3", {"prior": {"name": "mog"}, "lr": 1e-3}),
        ("model.on=true", {"prior": {"name": "mog"}, "on": True}),
        ("model.path=/data/a b.png", {"prior": {"name": "mog"}, "path": "/data/a b.png"}),
        ("model.text=a=b", {"prior": {"name": "mog"}, "text": "a=b"}),
        ("model.beta = 4", {"prior": {"name": "mog"}, "beta": 4}),
    ],
)
def test_override_values_are_toml_or_plain_text(text, expected):
    assert override({"model": {"prior": {"name": "mog"}}}, [text]) == {"model": expected}


@pytest.mark.parametrize(
    "text", ["steps", "=3", ".steps=3", "train..steps=3", "train.steps.much=3"]
)
def test_malformed_overrides_are_refused(text):
    with pytest.raises(SettingError, match="override"):
        override({"train": {"steps": 3}}, [text])


def test_differences_name_the_path():
    old = {
        "model": {"name": "vae", "prior": {"name": "mog", "components": 10}},
        "train": {"seed": 0},
    }
    new = {
        "model": {"name": "vae", "prior": {"name": "mog", "components": 20}},
        "train": {"seed": 0, "ema": 0.9},
    }
    assert differences(old, new) == [
        "model.prior.components was 10, now 20",
        "train.ema was None, now 0.9",
    ]
    assert differences({"shape": [1, 8, 8]}, {"shape": (1, 8, 8)}) == []


def test_a_bare_name_becomes_a_table(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('model = "vae"\ndata = "digits"\n')
    assert read(path) == {
        "model": {"name": "vae"},
        "data": {"name": "digits"},
        "train": {},
        "players": {},
    }
    assert read(path, ["model.beta=2"])["model"] == {"name": "vae", "beta": 2}


def test_facts_about_the_machine_are_not_read_back(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[model]\nname = "vae"\n[data]\nname = "digits"\n[run]\ntorch = "0.1"\n')
    assert "run" not in read(path)


def test_unknown_sections_are_errors():
    with pytest.raises(SettingError, match=r"no section 'trian'\. Did you mean 'train'"):
        checked({"model": "vae", "data": "digits", "trian": {}})


def _toml(tmp_path, content: bytes):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    return path


GOOD = b'model = "vae"\ndata = "digits"\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b"[train]\nsteps = " + b"1" * 5000, "holds a number with thousands of digits"),
        (
            GOOD + b"[train]\nsteps = 0x" + b"f" * 5000,
            r"train\.steps = <an integer of 6,021 digits>: expected",
        ),
        (
            GOOD + b"[train]\nsteps = 9223372036854775808",
            r"train\.steps = 9223372036854775808: expected an integer of",
        ),
        (GOOD + b"[train]\nx = " + b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (
            GOOD + b"[train]\nx = " + b"[" * 200 + b"]" * 200,
            r"train is nested deeper than 100 levels",
        ),
        (
            GOOD + b"[train." + b"a." * 20_000 + b"a]\nb = 1",
            r"train is nested deeper than 100 levels",
        ),
        (GOOD + b"# " + b"x" * 2**20, "has more than 1,048,576 bytes"),
        (GOOD + b"[train]\nsteps = \0", "Invalid value"),
        (GOOD + b"\xff", r"is not UTF-8 text \(byte 31\)"),
        (GOOD.decode().encode("utf-16"), r"is not UTF-8 text \(byte 1\)"),
        (GOOD + b"model = 1", "Cannot overwrite"),
    ],
    ids=str.split("digits hex bits lists levels dots long nul latin utf16 twice"),
)
def test_a_damaged_recipe_is_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(SettingError, match=message) as caught:
        read(_toml(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_byte_order_mark_and_windows_line_endings_are_accepted(tmp_path):
    assert read(_toml(tmp_path, b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n")))["model"] == {
        "name": "vae"
    }


def test_a_path_that_is_not_a_file_is_refused_as_a_recipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", tmp_path):
        # reading a pipe must not wait for a writer
        with pytest.raises(SettingError, match="is not a file"):
            read(path)
    with pytest.raises(
        SettingError, match=r'recipe = "~nosuchuser/a\.toml": there is no user of that name'
    ):
        read("~nosuchuser/a.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b=" + "1" * 5000, "a number with thousands of digits"),
        ("a.b=" + "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("a.b=" + "[" * 200 + "]" * 200, "is nested deeper than 100 levels"),
        ("a.b=9223372036854775808", "expected an integer of at most 64 bits"),
        (".".join("a" * 5000) + "=1", "goes down 5000 levels"),
        ("a" * 5000, "expected a.b=c"),
    ],
    ids=str.split("digits lists levels bits dots long"),
)
def test_invalid_overrides_are_refused_like_invalid_recipes(text, message):
    with pytest.raises(SettingError, match=f'^override ".*{message}') as caught:
        override({}, [text])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("# Training took\n# 1,480 s of CPU time on one thread.\n", 1480),
        ("# Took 11 s on two threads.\n[model]\n# 12 s on one thread\n", 11),
        ("[model]\n# 12 s on one thread\n", None),
    ],
)
def test_the_time_is_read_from_the_head_of_a_recipe(tmp_path, text, seconds):
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    assert training_seconds(file) == seconds
