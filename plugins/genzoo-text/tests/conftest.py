"""Settings for all tests: a fixed seed, one thread, and a deterministic Hypothesis."""

import pytest
import torch
from hypothesis import settings

settings.register_profile(
    "genzoo-text", deadline=None, derandomize=True, max_examples=40, database=None
)
settings.load_profile("genzoo-text")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
