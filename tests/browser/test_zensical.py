"""The site that the second builder makes, in Chromium: the same pages, and as good."""

import pytest

from tests.browser.site import OTHER_SITE, SEARCHES, SITE, pages_of, problems, served

pytestmark = pytest.mark.skipif(
    not OTHER_SITE.exists(), reason="needs the site that `make docs-test` builds with Zensical"
)

ANSWERS = {**SEARCHES, "validation": "api/training/"}
"""What people type -> the page that answers. Zensical shows ten results, the reference first."""


@pytest.fixture(scope="module")
def address():
    with served(OTHER_SITE) as address:
        yield address


def test_both_builders_make_the_same_pages():
    assert pages_of(OTHER_SITE) == pages_of(SITE)


@pytest.mark.parametrize(
    "name",
    ["", "models/vae/", "models/gan/", "leaderboard/", "tutorials/why-wgan-gp/", "api/priors/"],
)
def test_page(page, said, address, name):
    assert problems(page, address + name) + said == []


@pytest.mark.parametrize("words", ANSWERS)
def test_search_answers(page, address, words):
    page.set_viewport_size({"width": 1280, "height": 900})
    if page.url != address:
        page.goto(address)
        page.click(".md-search__button")
    page.get_by_role("combobox").fill("")
    page.wait_for_selector("[role=option]", state="detached")  # of the test before
    page.get_by_role("combobox").fill(words)
    answer = page.locator(f"[role=option][href^='{address}{ANSWERS[words]}']")
    answer.first.wait_for(state="attached", timeout=30_000)
