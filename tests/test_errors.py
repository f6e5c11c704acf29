"""Error messages suggest the nearest spellings, or list what is allowed."""

from genzoo.errors import did_you_mean


def test_at_most_two_spellings_are_suggested_nearest_first():
    known = ["gan", "dcgan", "wgan-gp", "lsgan", "wgan"]
    assert did_you_mean("wgann", known) == " Did you mean 'wgan' or 'gan'?"
    assert did_you_mean("wgan-pg", known) == " Did you mean 'wgan-gp' or 'wgan'?"


def test_a_single_near_spelling_is_suggested():
    assert did_you_mean("normall", ["normal", "mog"]) == " Did you mean 'normal'?"


def test_without_a_near_spelling_all_are_listed_in_order():
    assert did_you_mean("xyz", ["normal", "mog"]) == " Known: mog, normal."
    assert did_you_mean("xyz", []) == " Known: none."
