from pathlib import Path

import pooch
import pytest

from genzoo.data.cache import atomic_data, home
from genzoo.errors import DataError


def test_home(monkeypatch):
    monkeypatch.setenv("GENZOO_DATA", "~/elsewhere")
    assert home() == Path.home() / "elsewhere"
    monkeypatch.setenv("GENZOO_DATA", "")
    assert home() == Path(pooch.os_cache("genzoo"))


def test_a_file_is_replaced_completely(tmp_path):
    path = tmp_path / "deep" / "file"
    for content in ("old", "new"):
        with atomic_data(path) as temporary:
            temporary.write_text(content)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == content
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failed_write_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half(temporary):
        temporary.write_text("ne")
        raise error

    with pytest.raises(error), atomic_data(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    with (
        pytest.raises(DataError, match=r"below could not be written: .* GENZOO_DATA"),
        atomic_data(path) as temporary,
    ):
        temporary.write_text("")
