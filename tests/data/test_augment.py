"""Augmentations against torch, Pillow, and scipy, and their place between storage and batches."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy.ndimage import map_coordinates
from torch.nn.functional import pad

import genzoo
from genzoo import Dataset
from genzoo.contract import Augmentation
from genzoo.data import augment as module
from genzoo.data.augment import augment
from genzoo.data.stream import Stream, once
from genzoo.distributed import emulate_rank
from genzoo.errors import DataError, SettingError

CPU = torch.device("cpu")
CHANGES = Augmentation.__args__


@pytest.fixture
def x():
    return torch.rand(200, 3, 9, 12, generator=torch.Generator().manual_seed(0))


def fixed(monkeypatch, *values):
    """Let the random numbers be the given ones, the same for all images."""
    numbers = iter(values)
    monkeypatch.setattr(module, "per_image", lambda x: x.new_full((len(x), 1, 1, 1), next(numbers)))


@pytest.mark.parametrize(("change", "axis"), [("flip", 3), ("vertical-flip", 2)])
def test_a_flip_mirrors_about_half_of_the_images(x, change, axis):
    flipped = augment(x, (change,))
    same = (flipped == x).flatten(1).all(1)
    mirrored = (flipped == torch.flip(x, (axis,))).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_a_shift_moves_an_image_and_repeats_its_edge(x):
    moved = augment(x, ("shift",))
    candidates = {}
    for down, right in itertools.product(range(-1, 2), range(-2, 3)):
        rolled = torch.roll(pad(x, (2, 2, 1, 1), mode="replicate"), (down, right), (2, 3))
        candidates[down, right] = (rolled[:, :, 1:-1, 2:-2] == moved).flatten(1).all(1)
    assert (sum(found.int() for found in candidates.values()) == 1).all()
    assert all(found.any() for found in candidates.values())


@pytest.mark.parametrize("numbers", [(0.0, 0.3, 0.6), (0.99, 0.0, 0.9), (0.5, 0.25, 1.0)])
def test_a_crop_interpolates_a_window(x, monkeypatch, numbers):
    fixed(monkeypatch, *numbers)
    image = x[:1]
    side = 1 - numbers[0] / 4
    top, left = ((1 - side) * number for number in numbers[1:])
    rows = (top + side * (np.arange(9) + 0.5) / 9) * 9 - 0.5
    columns = (left + side * (np.arange(12) + 0.5) / 12) * 12 - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    expected = [map_coordinates(c.numpy(), grid, order=1, mode="nearest") for c in image[0]]
    result = augment(image, ("crop",))[0]
    torch.testing.assert_close(result, torch.from_numpy(np.stack(expected)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("numbers", [(0.0, 1.0, 0.2), (0.9, 0.1, 1.0), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jitter_changes_colors_as_pillow_does(monkeypatch, numbers, channels):
    fixed(monkeypatch, *numbers)
    x = torch.randint(0, 256, (1, channels, 6, 5), generator=torch.Generator().manual_seed(1))
    result = augment(x / 255, ("jitter",))[0] * 255
    pixels = x[0, :3].permute(1, 2, 0).numpy().astype(np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhancer, number in zip(enhancers[: 2 if channels == 1 else 3], numbers, strict=False):
        image = enhancer(image).enhance(0.8 + 0.4 * number)
    expected = torch.from_numpy(np.array(image).reshape(6, 5, -1)).permute(2, 0, 1).float()
    # Pillow rounds after each step
    assert (result[:3] - expected).abs().max() <= 3
    assert torch.equal(result[3:], x[0, 3:].float())


@pytest.mark.parametrize("change", CHANGES)
def test_images_stay_in_the_unit_range(x, change):
    for images in (x, x.round(), torch.ones(50, 1, 8, 8), torch.rand(50, 4, 5, 3).double()):
        changed = augment(images, (change,))
        assert changed.shape == images.shape
        assert changed.dtype == images.dtype
        assert 0 <= changed.min() <= changed.max() <= 1


def images(**settings):
    random = np.random.RandomState(0)
    x = random.randint(0, 256, (24, 1, 6, 6), dtype=np.uint8)
    return Dataset({"x": x, "y": np.arange(24)}, {"x": x[:5], "y": np.arange(5)}, **settings)


def take(n, dataset, inputs=("x", "y"), start=0, batch_size=8, **settings):
    stream = Stream(dataset, inputs, batch_size, seed=0, device=CPU, **settings)
    return list(itertools.islice(stream.batches(start), n))


def flat(batches):
    return torch.stack([torch.cat([b["x"].flatten(1), b["y"][:, None]], 1) for b in batches])


@pytest.mark.parametrize("noise", [{}, {"binarize": "stochastic"}, {"dequantize": True}])
def test_batches_do_not_depend_on_ranks_microbatches_or_resumes(noise):
    data = images(augment=CHANGES, **noise)
    whole = flat(take(5, data))
    assert torch.equal(flat(take(5, data)), whole)
    assert torch.equal(flat(take(2, data, start=3)), whole[3:])
    assert torch.equal(flat(take(5, data, resident=False)), whole)
    parts = []
    for rank in range(2):
        with emulate_rank(rank, 2):
            parts.append(flat(take(5, data, rank=rank, size=2, microbatches=2)))
    quarters = [part.chunk(2, 1) for part in parts]
    first, second = (torch.cat([half[i] for half in quarters], 1) for i in range(2))
    assert torch.equal(torch.cat([first, second], 1), whole)


def test_only_training_images_change_and_labels_do_not():
    plain, changed = (take(3, images(augment=names)) for names in ((), ("flip",)))
    for before, after in zip(plain, changed, strict=True):
        same = (after["x"] == before["x"]).flatten(1).all(1)
        mirrored = (after["x"] == torch.flip(before["x"], (3,))).flatten(1).all(1)
        assert (same ^ mirrored).all()
        assert torch.equal(after["y"], before["y"])
    assert not torch.equal(changed[0]["x"], plain[0]["x"])
    for split in ("train", "test"):
        settings = {"inputs": ("x",), "batch_size": 24, "device": CPU, "split": split}
        rows = [next(once(images(augment=names), **settings)) for names in ((), CHANGES)]
        assert torch.equal(*rows)


def test_noise_within_a_level_comes_after_the_changes():
    plain, changed = (take(3, images(augment=names, dequantize=True)) for names in ((), ("flip",)))
    for before, after in zip(plain, changed, strict=True):
        levels, moved = ((b["x"] * 256).floor() for b in (before, after))
        same = (moved == levels).flatten(1).all(1)
        assert (same ^ (moved == levels.flip(3)).flatten(1).all(1)).all()


def test_paired_images_change_together_and_unpaired_ones_do_not():
    x = torch.rand(64, 1, 6, 6)
    for groups, together in (((("a", "b"),), True), ((("a",), ("b",)), False)):
        data = Dataset({"a": x, "b": x.clone()}, groups=groups, augment=("flip", "shift"))
        still = Dataset({"a": x, "b": x.clone()}, groups=groups)
        moved, rows = (take(1, d, ("a", "b"), batch_size=64)[0] for d in (data, still))
        changed = {name: (moved[name] != rows[name]).flatten(1).any(1) for name in "ab"}
        assert torch.equal(moved["a"], moved["b"]) == together
        assert 0.8 < changed["a"].float().mean() < 1


def test_unsuitable_settings_are_refused():
    with pytest.raises(SettingError, match=r'no change "flips"; it has flip, .*Did you mean'):
        images(augment=("flips",))
    with pytest.raises(SettingError, match="expected a list of names"):
        images(augment="flip")
    with pytest.raises(DataError, match="symbols = 3 excludes"):
        Dataset({"x": torch.zeros(4, 5, dtype=torch.uint8)}, symbols=3, augment=("flip",))
    table = Dataset({"x": torch.rand(8, 3)}, augment=("flip",))
    with pytest.raises(SettingError, match=r"changes images, and the model reads none"):
        take(1, table, ("x",))


@pytest.mark.slow
def test_a_resumed_run_sees_the_same_images(tmp_path):
    small = {"name": "mlp", "hidden": (4,)}
    table = {"name": "vae", "latent_dim": 2, "encoder": small, "decoder": small}
    data = {"name": "digits", "augment": ["shift", "crop"]}
    whole, half = (
        genzoo.fit(table, data, tmp_path / name, steps=steps, batch_size=8, progress=False)
        for name, steps in (("whole", 4), ("half", 2))
    )
    rest = genzoo.fit(table, data, half.folder, steps=4, batch_size=8, resume=True, progress=False)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(rest.model.state_dict()[name], value)
