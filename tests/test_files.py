"""Paths that users type: the home folder is expanded, and invalid names are refused."""

import os
import re
from pathlib import Path

import pytest

from genzoo.errors import DataError, SettingError
from genzoo.files import local_path, write_atomic


def test_the_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/runs/a", "out") == tmp_path / "runs/a"
    assert local_path(Path("~/runs/a"), "out") == tmp_path / "runs/a"
    assert local_path("runs/a", "out") == Path("runs/a")


@pytest.mark.parametrize(
    ("path", "message"),
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
        ("\ud800", r'out = ".+": the name is not UTF-8'),
    ],
)
def test_an_invalid_path_is_refused_in_one_line(path, message):
    with pytest.raises(SettingError) as caught:
        local_path(path, "out")
    assert re.match(message, str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_dangling_link_is_valid_and_a_link_cycle_is_not(tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    assert local_path(tmp_path / "dangling", "folder") == tmp_path / "dangling"
    with pytest.raises(DataError, match=r"folder = .*circle"):
        local_path(tmp_path / "circle", "folder", DataError)


def test_a_system_that_cannot_open_folders_writes_files(monkeypatch, tmp_path):
    """Windows refuses to open a folder, so it cannot sync one."""
    real, refused = os.open, []

    def open_files_only(path, *arguments, **options):
        if Path(path).is_dir():
            refused.append(path)
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_files_only)
    write_atomic(tmp_path / "a.txt", lambda path: path.write_text("content"))
    assert refused == [tmp_path]
    assert (tmp_path / "a.txt").read_text() == "content"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
