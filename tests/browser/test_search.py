"""The search of the built site, in Chromium, finds what people type."""

import pytest

from tests.browser.site import SEARCHES


@pytest.mark.parametrize("words", SEARCHES)
def test_search_answers(page, address, words):
    page.set_viewport_size({"width": 1280, "height": 900})
    if page.url != address:
        page.goto(address)
    page.fill("input.md-search__input", "")
    page.wait_for_selector(".md-search-result__link", state="detached")  # of the test before
    page.focus("input.md-search__input")
    page.keyboard.type(words)
    page.wait_for_function(
        "answer => [...document.querySelectorAll('.md-search-result__link')]"
        ".some(link => new URL(link.href).pathname.startsWith(`/${answer}`))",
        arg=SEARCHES[words],
        timeout=30_000,
    )
