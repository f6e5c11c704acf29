"""Paths as people type them: the home folder, and names that no file can have."""

import re
from pathlib import Path

import pytest

from genzoo.errors import DataError, SettingError
from genzoo.files import local_path


def test_the_home_folder_is_put_in(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/runs/a", "out") == tmp_path / "runs/a"
    assert local_path(Path("~/runs/a"), "out") == tmp_path / "runs/a"
    assert local_path("runs/a", "out") == Path("runs/a")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "out = None: expected a path"),
        (3, "out = 3: expected a path"),
        (b"runs", "out = b'runs': expected a path"),
        ("", 'out = "": expected a path'),
        ("a\0b", r'out = "a\\u0000b": a path cannot hold a NUL character'),
        (
            "~nosuchuser/x",
            'out = "~nosuchuser/x": there is no user of that name here; .*"./~nosuchuser/x"',
        ),
        ("x" * 300, 'out = "x{60}...x{10}": File name too long'),
        ("\ud800", r'out = ".": .*surrogates not allowed'),
    ],
)
def test_what_is_no_path_is_refused_in_one_line(path, said):
    with pytest.raises(SettingError) as caught:
        local_path(path, "out")
    assert re.match(said, str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_dangling_link_is_a_path_and_a_circle_is_not(tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    assert local_path(tmp_path / "dangling", "folder") == tmp_path / "dangling"
    with pytest.raises(DataError, match=r"folder = .*circle"):
        local_path(tmp_path / "circle", "folder", DataError)
