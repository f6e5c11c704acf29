"""Marked parts of pages: new content replaces only the text between the marks of its name."""

import pytest

from recipes.pages import fill, fill_page, names

PAGE = "a\n<!-- one -->\n<!-- end -->\nb\n<!-- two: x.y -->\nold\n<!-- end -->\nc\n"


def test_names_are_those_of_the_opening_marks():
    assert names(PAGE) == ["one", "two: x.y"]


@pytest.mark.parametrize("content", ["new \\1", "new \\1\n", "\n\nnew \\1\n\n"])
def test_content_is_set_off_by_blank_lines(content):
    filled = fill(PAGE, "two: x.y", content)
    assert filled == PAGE.replace("old\n", "\nnew \\1\n\n")
    assert fill(filled, "two: x.y", content) == filled


def test_a_page_without_the_marks_stays_as_it_is(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    fill_page(page, "two", "new")
    assert page.read_text() == PAGE
    fill_page(page, "one", "é")
    assert page.read_text(encoding="utf-8") == PAGE.replace("one -->\n<", "one -->\n\né\n\n<")
