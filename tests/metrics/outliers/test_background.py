"""Counted background distributions against dictionaries, and PNG lengths against files."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.errors import DataError, SettingError
from genzoo.metrics import Background, png_bits


def counted(rows, example, kind, smoothing, bins):
    """Return the log-probability of an example by the definition, one value at a time."""
    total = 0.0
    for d, value in enumerate(example):
        context = (lambda row, d=d: row[d - 1] if d else 0) if kind == "markov" else (lambda _: 0)
        same = Counter(row[d] for row in rows if context(row) == context(example))
        total += math.log((same[value] + smoothing) / (sum(same.values()) + bins * smoothing))
    return total


@pytest.mark.parametrize("kind", ["independent", "markov"])
@pytest.mark.parametrize("levels", [2, 5])
def test_probabilities_are_smoothed_frequencies(kind, levels):
    rng = np.random.default_rng(0)
    rows, new = rng.integers(levels, size=(40, 6)), rng.integers(levels, size=(7, 6))
    background = Background(kind, levels=levels, shape=(1, 2, 3), smoothing=0.3)
    batches = torch.from_numpy(rows).view(-1, 1, 2, 3).split(15)
    log_prob = background.fit(batches).log_prob(torch.from_numpy(new).view(-1, 1, 2, 3))
    expected = [counted(rows.tolist(), list(row), kind, 0.3, levels) for row in new.tolist()]
    np.testing.assert_allclose(log_prob.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["independent", "markov"])
@pytest.mark.parametrize(("levels", "dims"), [(2, 5), (3, 4), (33, 2), (100, 2)])
def test_probabilities_sum_to_one(kind, levels, dims):
    """More than 32 levels share bins, here of unequal sizes."""
    rows = torch.randint(levels, (20, dims))
    everything = torch.tensor(list(itertools.product(range(levels), repeat=dims)))
    background = Background(kind, levels=levels, shape=(dims,)).fit([rows])
    total = background.log_prob(everything).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-10)


def test_levels_of_a_bin_are_equally_likely():
    background = Background("independent", levels=256, shape=(1,)).fit([torch.full((9, 1), 17)])
    log_prob = background.log_prob(torch.tensor([[15], [16], [31], [32]]))
    expected = [0.5 / 17 / 16, 9.5 / 17 / 16, 9.5 / 17 / 16, 0.5 / 17 / 16]
    np.testing.assert_allclose(log_prob.exp().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["independent", "markov"])
def test_for_bits_it_is_the_model_of_that_name(kind):
    x = (torch.rand(50, 1, 4, 4) < torch.rand(1, 4, 4)).float()
    model = genzoo.load(kind, shape=(1, 4, 4)).fit(x[:30])
    background = Background(kind, levels=2, shape=(1, 4, 4)).fit([x[:30]])
    expected = model.log_prob(x).detach().double()
    torch.testing.assert_close(background.log_prob(x), expected, rtol=1e-5, atol=1e-5)


def test_a_table_that_does_not_fit_into_memory_is_refused(monkeypatch):
    """16 bins of 256 levels: 16 * 16 pairs of 5 values, in three tables of 8 bytes."""
    monkeypatch.setattr("genzoo.memory.free_memory", lambda _: 3 * 8 * 5 * 16**2 - 1)
    Background("independent", levels=256, shape=(5,))
    with pytest.raises(SettingError, match=r"'markov' .*\(5,\) need .* are free; choose other"):
        Background("markov", levels=256, shape=(5,))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_bits_are_those_of_a_file(channels, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, channels, 9, 7), dtype=np.uint8)
    images[0] = 7
    for bits, image in zip(png_bits(torch.from_numpy(images)).tolist(), images, strict=True):
        pixels = np.moveaxis(image, 0, -1) if channels == 3 else np.concatenate(list(image))
        Image.fromarray(pixels.squeeze()).save(tmp_path / "image.png", optimize=True)
        assert bits == 8 * (tmp_path / "image.png").stat().st_size


def test_random_bytes_cannot_be_compressed_and_a_flat_image_can():
    noise = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    assert png_bits(noise).item() > 8 * noise.numel()
    assert png_bits(torch.zeros_like(noise)).item() < 8 * noise.numel() / 20


@pytest.mark.parametrize("images", [torch.rand(2, 1, 8, 8), torch.zeros(1, 8, 8).byte()])
def test_refuses_other_types_and_shapes(images):
    with pytest.raises(DataError, match=r"expected uint8 of shape \(n, C, H, W\)"):
        png_bits(images)
