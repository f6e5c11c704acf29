"""Texts that are published hold no absolute paths and no user names."""

import getpass
import tomllib
from pathlib import Path

import pytest

from genzoo.runs.data_path import rerooted
from genzoo.runs.portable import portable, portable_recipe, portable_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see /home/ana/x/y.py, line 3", "see y.py, line 3"),
        ("'/home/ana/r.py'", "'r.py'"),
        (r"in C:\Users\ana\x.csv.", "in x.csv."),
        (r"\\server\share\x.csv", "x.csv"),
        ("file:///srv/x.py", "x.py"),
        ("~/x/y.csv and ~ana/z", "y.csv and z"),
        ("(--plugin /tmp/a/b.py)", "(--plugin b.py)"),
        ("the folder /home/ana", "the folder ~"),
        ("(in /home/ana), [/home/ana]", "(in ~), [~]"),
        ("/Users/ana/data/", "data"),
        (r"a map \\( g: x \\to y \\), \(f \circ g\)", None),
        ("https://example.org/home/x and a/b, 1/2, 10 / 20, runs/vae", None),
    ],
)
def test_absolute_paths_become_their_last_names(text, expected):
    assert portable_text(text) == (text if expected is None else expected)


def test_whole_paths_may_hold_spaces():
    table = {"path": "/home/ana/my pictures", "labels": ("~/a b/l.csv", 3), "n": None}
    assert portable(table) == {"path": "my pictures", "labels": ("l.csv", 3), "n": None}


def test_paths_below_the_data_can_be_moved_with_them():
    table = {
        "path": "/home/ana/my faces/",
        "labels": "/home/ana/my faces/a/l.csv",
        "n": "/home/b/c",
    }
    moved = portable(table)
    assert moved == {"path": "my faces", "labels": "my faces/a/l.csv", "n": "c"}
    assert rerooted(moved, "/data/f") == {"path": "/data/f", "labels": "/data/f/a/l.csv", "n": "c"}
    windows = {"folder": "C:\\Users\\ana\\faces", "labels": "C:\\Users\\ana\\faces\\l.csv"}
    assert portable(windows) == {"folder": "faces", "labels": "faces\\l.csv"}
    assert portable({"path": "/data/f", "labels": "/data/faces"})["labels"] == "faces"


def test_the_users_name_is_removed(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ana.lopez")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ana.lopez"))
    assert portable_text("by ana.lopez, not by ana.lopezzz") == "by USER, not by ana.lopezzz"


def test_a_recipe_keeps_what_the_model_needs():
    alphabet = "/abc \n\"'"
    recipe = portable_recipe(
        b"""
[model]
name = "text"
alphabet = "/abc \\n\\"'"
file = "/home/ana/vocabulary.txt"

[data]
name = "folder"
path = '/home/ana/my pictures'

[run]
needs = ["models 'x' from the file /home/ana/x.py (sha256 0; --plugin /home/ana/x.py)"]
"""
    )
    table = tomllib.loads(recipe)
    assert table["model"] == {"name": "text", "alphabet": alphabet, "file": "vocabulary.txt"}
    assert table["data"]["path"] == "my pictures"
    assert table["run"]["needs"] == ["models 'x' from the file x.py (sha256 0; --plugin x.py)"]
    assert "ana" not in recipe
