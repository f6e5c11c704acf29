"""Fixtures of the tests of runs."""

import pytest

import genzoo
from tests.games import DATA, FAST


@pytest.fixture
def run(tmp_path):
    """The folder of a run of six steps."""
    return genzoo.fit("test-mean", DATA, tmp_path / "run", steps=6, **FAST).folder
