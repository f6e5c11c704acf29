"""Text becomes symbols and text again; unreadable text is refused with the position."""

import bz2
import gzip
import lzma
from collections import Counter

import genzoo_text.lines
import numpy as np
import pytest
import torch
from genzoo_text.alphabet import PADDING, UNKNOWN
from genzoo_text.lines import lines, python_help, words
from hypothesis import given
from hypothesis import strategies as st

from genzoo import build
from genzoo.errors import DataError, SettingError
from genzoo.testing import check


def write(folder, *rows, name="text.txt"):
    (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(folder / name)


def read(codes, data):
    """Return symbols as text, using only the vocabulary."""
    return ["".join(data.metadata["vocabulary"][symbol] for symbol in row) for row in codes]


def test_lines_are_padded_and_truncated(tmp_path):
    data = lines(write(tmp_path, "ab", "", "abcdef  ", "b"), length=4, test_fraction=0)
    assert data.shape == (4, 2 + 4)
    assert data.train["x"].dtype == np.uint8
    assert sorted(read(data.train["x"], data)) == sorted(
        [f"ab{PADDING * 2}", "abcd", f"b{PADDING * 3}"]
    )
    assert data.metadata["vocabulary"] == f"{PADDING}{UNKNOWN}bacd"  # three b, two a
    first = data.prepare(torch.from_numpy(data.train["x"]))[0]
    assert first.shape == (4, 6)
    assert first.sum(dim=1).tolist() == [1, 1, 1, 1]


def test_lines_conform(tmp_path):
    table = {
        "name": "lines",
        "path": write(tmp_path, *(f"{i} and {i**2}" for i in range(99))),
        "longer": "split",
        "length": 5,
    }
    assert all(result.ok and not result.skipped for result in check(table))


@pytest.mark.parametrize(
    ("longer", "expected"),
    [("cut", ["abc", "xy"]), ("skip", ["xy", "z"]), ("split", ["abc", "de", "xy"])],
)
def test_longer_lines_are_truncated_wrapped_or_dropped(tmp_path, longer, expected):
    extra = ["z"] if longer == "skip" else []
    data = lines(write(tmp_path, "abcde", "xy", *extra), length=3, longer=longer, test_fraction=0)
    assert sorted(row.rstrip(PADDING) for row in read(data.train["x"], data)) == expected


LINE = st.text(
    st.characters(codec="utf-8", exclude_characters=["\n", "\0", "\ufeff", PADDING, UNKNOWN]),
    max_size=12,
)


@given(
    st.lists(
        LINE.filter(lambda line: line == line.rstrip() and line),
        min_size=2,
        max_size=12,
        unique=True,
    )
)
def test_text_is_encoded_and_decoded_exactly(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes("\n".join(rows).encode())
    data = lines(str(path), length=12, test_fraction=0)
    net = {"name": "mlp", "hidden": [4]}
    model = build(
        {"name": "char-wgan-gp", "generator": net, "critic": net},
        shape=data.shape,
        defaults=data.metadata,
    )
    texts = model.text(data.prepare(torch.from_numpy(data.train["x"])))
    assert sorted(texts) == sorted(rows)


def test_rare_characters_become_unknown(tmp_path):
    data = lines(
        write(tmp_path, "aab", "aac", "ab\0", f"{PADDING}{UNKNOWN}a"),
        length=3,
        vocabulary_size=4,
        test_fraction=0,
    )
    assert data.metadata["vocabulary"] == f"{PADDING}{UNKNOWN}ab"
    assert sorted(read(data.train["x"], data)) == sorted(
        ["aab", f"aa{UNKNOWN}", f"ab{UNKNOWN}", f"{UNKNOWN * 2}a"]
    )


def test_the_vocabulary_comes_from_the_training_lines(tmp_path):
    data = lines(
        write(tmp_path, *(chr(0x4E00 + i) for i in range(20))), length=1, test_fraction=0.5
    )
    assert len(data.metadata["vocabulary"]) == 2 + 10
    assert (data.test["x"] == 1).all()


def test_splits_are_disjoint_and_complete(tmp_path):
    rows = [f"{i % 70}" for i in range(400)]
    data = lines(write(tmp_path, *rows), length=2, test_fraction=0.3)
    train, test = (
        [row.rstrip(PADDING) for row in read(split["x"], data)] for split in (data.train, data.test)
    )
    assert not set(train) & set(test)
    assert Counter(train) + Counter(test) == Counter(rows)
    assert len(set(test)) == 21  # 0.3 of 70
    again, other = (
        lines(str(tmp_path / "text.txt"), length=2, test_fraction=0.3, seed=seed) for seed in (0, 1)
    )
    assert np.array_equal(again.train["x"], data.train["x"])
    assert {row.rstrip(PADDING) for row in read(other.test["x"], other)} != set(test)
    assert train != sorted(train)


def test_a_compressed_file_with_too_much_content_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(genzoo_text.lines, "_LONGEST", 1 << 20)
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"\n" * ((1 << 20) + 1)))
    with pytest.raises(
        DataError, match=r"text\.gz contains more than .* GiB of text; use a part of it"
    ):
        lines(str(tmp_path / "text.gz"))


def test_gzip_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    text = "\ufeffone\r\ntwo\r\n"
    (tmp_path / "text.gz").write_bytes(gzip.compress(text.encode()))
    data = lines(str(tmp_path / "text.gz"), length=3, test_fraction=0)
    assert sorted(read(data.train["x"], data)) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9\nbar\n", "is not utf-8: byte 0xe9 at offset 3 cannot be read"),
        (b"", "has 0 different lines; at least two are needed"),
        (b"same\nsame\n", "has 1 different lines; at least two are needed"),
        (b"\x1f\x8b\x08nothing", "cannot be read"),
    ],
)
def test_invalid_input_is_refused(tmp_path, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        lines(str(tmp_path / "text.txt"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path, encoding):
    (tmp_path / "text.txt").write_bytes("ünö\ntwo\n".encode(encoding))
    data = lines(str(tmp_path / "text.txt"), length=3, test_fraction=0)
    assert sorted(read(data.train["x"], data)) == ["two", "ünö"]


def test_an_encoding_without_a_mark_is_a_setting(tmp_path):
    path = str(tmp_path / "text.txt")
    (tmp_path / "text.txt").write_bytes("one\ntwo\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"decoded as utf-8, .* many NUL characters.* set encoding"):
        lines(path)
    data = lines(path, length=3, test_fraction=0, encoding="utf-16-le")
    assert sorted(read(data.train["x"], data)) == ["one", "two"]
    with pytest.raises(DataError, match="Python has no such encoding"):
        lines(path, encoding="utf-99")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_text_is_recognized_by_its_content(tmp_path, compress):
    (tmp_path / "text").write_bytes(compress(b"one\ntwo\n"))
    data = lines(str(tmp_path / "text"), length=3, test_fraction=0)
    assert sorted(read(data.train["x"], data)) == ["one", "two"]


def test_missing_files_are_named(monkeypatch, tmp_path):
    with pytest.raises(DataError, match=r"lines: .*nowhere\.txt is not a file"):
        build({"name": "lines", "path": "nowhere.txt"}, "datasets")
    with pytest.raises(DataError, match="of at most 2 characters"):
        lines(write(tmp_path, "long", "longer"), length=2, longer="skip")
    with pytest.raises(SettingError, match="vocabulary_size"):
        build({"name": "lines", "path": "nowhere.txt", "vocabulary_size": 257}, "datasets")
    monkeypatch.setattr(genzoo_text.lines, "WORD_LISTS", (str(tmp_path / "none"),))
    with pytest.raises(DataError, match="install Debian's package wamerican"):
        words()


def test_words_come_from_the_list_up_to_the_length(monkeypatch, tmp_path):
    monkeypatch.setattr(
        genzoo_text.lines,
        "WORD_LISTS",
        (str(tmp_path / "none"), write(tmp_path, "an", "aardvark", "be", "bee")),
    )
    data = words(length=3, test_fraction=0)
    assert sorted(row.rstrip(PADDING) for row in read(data.train["x"], data)) == ["an", "be", "bee"]


def test_the_help_of_python_is_split_into_its_lines():
    from pydoc_data.topics import topics

    everything = " ".join(" ".join(topics[topic].split()) for topic in sorted(topics))
    data = python_help(length=20)
    texts = [row.rstrip(PADDING) for row in read(data.train["x"][:200], data)]
    assert all(row in everything for row in texts)
    assert sum(len(row) == 20 for row in texts) > 100
