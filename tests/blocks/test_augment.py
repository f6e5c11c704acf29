"""Each augmentation against the change that it describes, image by image."""

import pytest
import torch

from genzoo.blocks.augment import augment
from genzoo.distributed.keyed_draws import draws
from genzoo.errors import SettingError
from genzoo.models.gan import GAN

CHANGES = ("flip", "color", "translation", "cutout")


@pytest.fixture
def x():
    return 2 * torch.rand(200, 3, 9, 12, generator=torch.Generator().manual_seed(0)) - 1


def test_a_flip_mirrors_about_half_of_the_images(x):
    flipped = augment(x, ("flip",))
    same = (flipped == x).flatten(1).all(1)
    mirrored = (flipped == x.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_a_translation_moves_an_image_and_fills_with_zeros(x):
    moved = augment(x, ("translation",))
    shifts = set()
    for image, result in zip(x, moved, strict=True):
        candidates = {}
        for down in (-1, 0, 1):
            for right in (-2, -1, 0, 1, 2):
                expected = torch.zeros_like(image)
                rows, columns = (
                    slice(max(0, down), 9 + min(0, down)),
                    slice(max(0, right), 12 + min(0, right)),
                )
                source_rows = slice(max(0, -down), 9 + min(0, -down))
                source_columns = slice(max(0, -right), 12 + min(0, -right))
                expected[:, rows, columns] = image[:, source_rows, source_columns]
                candidates[down, right] = torch.equal(expected, result)
        assert sum(candidates.values()) == 1
        shifts.add(next(shift for shift, equal in candidates.items() if equal))
    assert len(shifts) == 15  # all of them occur


def test_a_cutout_clears_one_rectangle_of_half_the_size(x):
    cut = augment(x, ("cutout",))
    cleared = (cut == 0).all(1)
    assert torch.equal(cut[~cleared[:, None].expand_as(cut)], x[~cleared[:, None].expand_as(x)])
    areas = cleared.flatten(1).sum(1)
    assert areas.max() == 5 * 6
    assert areas.min() >= 1
    rows, columns = cleared.any(2).sum(1), cleared.any(1).sum(1)
    assert torch.equal(rows * columns, areas)


def test_colors_change_brightness_saturation_and_contrast(x):
    changed = augment(x, ("color",)).double()
    # each channel is an affine function of the image and of its gray value
    for image, result in zip(x[:20].double(), changed[:20], strict=True):
        gray = image.mean(0)
        for channel in range(3):
            columns = [image[channel].flatten(), gray.flatten(), torch.ones(108).double()]
            design = torch.stack(columns, 1)
            solution = torch.linalg.lstsq(design, result[channel].flatten()[:, None]).solution
            error = design @ solution - result[channel].flatten()[:, None]
            assert error.abs().max() < 1e-5
            own, shared, _ = solution[:, 0]
            assert 0 <= own < 3  # contrast times saturation
            assert 0.5 <= own + shared < 1.5  # the contrast


@pytest.mark.parametrize("change", CHANGES)
def test_gradients_are_those_of_finite_differences(change):
    x = torch.rand(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)

    def fixed(x):
        with draws(torch.device("cpu"), "test"):
            return augment(x, (change,))

    assert torch.autograd.gradcheck(fixed, (x,))


def test_all_changes_keep_shape_dtype_and_the_number_of_images():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = torch.rand(3, 1, 8, 8).to(dtype)
        assert augment(x, CHANGES).shape == x.shape
        assert augment(x, CHANGES).dtype == dtype


def test_a_game_sees_changed_images_only_in_its_losses():
    torch.manual_seed(0)
    model = GAN(latent_dim=2, augmentation=CHANGES, penalty="none", shape=(3, 8, 8))
    x = torch.rand(16, 3, 8, 8)
    torch.testing.assert_close(model.score(x), model.score(x))
    assert model.critic_loss(x)["loss"] != model.critic_loss(x)["loss"]
    with pytest.raises(SettingError, match=r"augmentation = .*flip.*shape = \(5,\)"):
        GAN(augmentation=("flip",), shape=(5,))
