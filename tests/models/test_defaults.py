"""Models train without any setting: their samples of the digits do not collapse."""

import pytest
import torch

import genzoo
from genzoo.metrics import DigitsCNN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps"),
    [("vae", 200), ("wae-mmd", 100), ("wae-gan", 100), ("gan", 120), ("wgan-gp", 80)],
)
def test_samples_of_a_model_with_default_settings_are_of_many_classes(name, steps):
    run = genzoo.fit(name, "digits", steps=steps, batch_size=32, progress=False)
    torch.manual_seed(0)
    samples = run.model.sample(500)
    classes = DigitsCNN((1, 8, 8)).classify(samples).argmax(1).bincount(minlength=10)
    assert (classes >= 5).sum() >= 6, classes
    assert classes.max() < 350, classes
