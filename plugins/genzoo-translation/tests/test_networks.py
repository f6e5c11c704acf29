"""Networks, compared with the layers in the papers and with their gradients."""

from itertools import pairwise

import pytest
import torch
from genzoo_translation.critics import PatchCritic, PyramidCritic
from genzoo_translation.networks import Bottleneck, Dropout, ResNet, UNet, _Residual

from genzoo import build
from genzoo.errors import SettingError


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_unet_for_256_pixels_matches_the_paper():
    """C64-C128-C256-C512-C512-C512-C512-C512 and back; skips double the decoder's inputs."""
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    expected = sum(16 * a * b for a, b in pairwise(down))
    expected += 64 + 512  # biases of the first and the innermost layer, which have no norm
    expected += sum(2 * c for c in down[2:8])  # gains and shifts of the norms of the other layers
    up = [
        (512, 512),
        (1024, 512),
        (1024, 512),
        (1024, 512),
        (1024, 256),
        (512, 128),
        (256, 64),
        (128, 3),
    ]
    expected += sum(16 * a * b for a, b in up) + 3 + sum(2 * b for _, b in up[:-1])
    with torch.device("meta"):
        net = UNet((3, 256, 256), (3, 256, 256))
    assert count(net) == expected
    # The authors' PyTorch port does not have those biases. It prints 54.408 M for gray images
    # (junyanz/pytorch-CycleGAN-and-pix2pix, issue 1152).
    assert round((expected - 64 - 512) / 1e6, 3) == 54.414
    gray = expected - 2 * 16 * 64 - 2 * 16 * 128
    assert round((gray - 64 - 512) / 1e6, 3) == 54.408


def test_the_resnet_for_256_pixels_matches_the_paper():
    """c7s1-64, d128, d256, nine blocks R256, u128, u64, c7s1-3; the norms have no parameters."""
    weights = (
        49 * 3 * 64
        + 9 * (64 * 128 + 128 * 256)
        + 9 * 2 * 9 * 256 * 256
        + 9 * (256 * 128 + 128 * 64)
        + 49 * 64 * 3
        + 3
    )
    with torch.device("meta"):
        net, small = ResNet((3, 256, 256), (3, 256, 256)), ResNet((3, 128, 128), (3, 128, 128))
    assert count(net) == weights
    assert count(net) - count(small) == 3 * 2 * 9 * 256 * 256  # six blocks for 128 pixels


def test_the_patch_critic_matches_the_paper():
    """C64-C128-C256-C512-1 on two color images has 2.769 million parameters.

    The authors' PyTorch port prints 2.765 M for two gray images (issue 1152).
    """
    expected = (
        16 * (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1 + 2 * (128 + 256 + 512)
    )
    assert count(PatchCritic((6, 256, 256))) == expected
    assert round(expected / 1e6, 3) == 2.769
    assert round((expected - 16 * 4 * 64) / 1e6, 3) == 2.765


@pytest.mark.parametrize(("layers", "seen"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_has_the_documented_size(layers, seen):
    critic = PatchCritic((1, 128, 128), width=2, layers=layers, norm="none").double()
    x = torch.rand(1, 1, 128, 128, dtype=torch.double, requires_grad=True)
    patches = critic.patches(x)
    patches[0, patches.shape[1] // 2, patches.shape[2] // 2].backward()
    rows, columns = x.grad[0, 0].nonzero(as_tuple=True)
    assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == (
        seen,
        seen,
    )


@pytest.mark.parametrize(
    ("size", "layers"), [(8, 1), (28, 1), (33, 1), (34, 2), (64, 2), (70, 3), (256, 3)]
)
def test_patches_are_not_larger_than_the_image(size, layers):
    with torch.device("meta"):
        default, explicit = (
            PatchCritic((1, size, size)),
            PatchCritic((1, size, size), layers=layers),
        )
    assert count(default) == count(explicit)


def test_the_score_is_the_mean_over_patches():
    critic, x = PatchCritic((1, 28, 28), width=4), torch.rand(3, 1, 28, 28)
    assert torch.equal(critic(x), critic.patches(x).mean(dim=(1, 2)))


@pytest.mark.parametrize("name", ["unet", "resnet", "bottleneck"])
@pytest.mark.parametrize("size", [(8, 8), (9, 14), (28, 28), (31, 45), (256, 256)])
def test_image_sizes_are_kept(name, size):
    settings = {"bottleneck": {}, "unet": {"width": 2}, "resnet": {"width": 2, "blocks": 1}}[name]
    net = build({"name": name, **settings}, "translators", given_shape=(2, *size), shape=(3, *size))
    assert net(torch.rand(2, 2, *size)).shape == (2, 3, *size)


def test_skip_connections_bypass_the_bottleneck():
    """With the inner levels cut off, a pixel's output still depends on its input."""
    net = UNet((1, 16, 16), (1, 16, 16), width=4, dropout=0.0).eval()
    x = torch.rand(1, 1, 16, 16, requires_grad=True)
    net.up[0].register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    net(x)[0, 0, 8, 8].backward()
    assert x.grad[0, 0, 8, 8] != 0


def test_dropout_stays_on_in_eval_mode():
    x = torch.rand(2, 1, 16, 16)
    noisy, still = (
        UNet((1, 16, 16), (1, 16, 16), width=4).eval(),
        UNet((1, 16, 16), (1, 16, 16), width=4, dropout=0.0).eval(),
    )
    assert not torch.equal(noisy(x), noisy(x))
    assert torch.equal(still(x), still(x))


def test_dropout_is_in_the_three_innermost_levels_of_the_decoder_and_keeps_the_mean():
    with torch.device("meta"):
        net = UNet((3, 256, 256), (3, 256, 256))
    assert [any(isinstance(m, Dropout) for m in block) for block in net.up] == [True] * 3 + [
        False
    ] * 5
    assert Dropout(0.25)(torch.ones(4, 10_000)).mean().item() == pytest.approx(1, abs=0.02)


def test_activations_match_the_paper():
    net = UNet((1, 16, 16), (1, 16, 16), width=2)
    assert not isinstance(net.down[0][0], torch.nn.LeakyReLU)
    assert [block[0].negative_slope for block in list(net.down)[1:]] == [0.2] * 3
    assert all(isinstance(block[0], torch.nn.ReLU) for block in net.up)


def test_a_residual_block_adds_to_its_input():
    block = _Residual(3)
    for p in block.parameters():
        torch.nn.init.zeros_(p)
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(block(x), x)


def test_convolutions_use_reflection_padding():
    """A constant image stays constant with reflection padding, and would not with zeros."""
    net = ResNet((1, 16, 16), (1, 16, 16), width=2, blocks=1).net
    first = net[:2](torch.ones(1, 1, 16, 16))
    block = next(m for m in net if isinstance(m, _Residual)).net
    for output in (
        first,
        block[:2](torch.ones(1, 8, 5, 5)),
        block[4:6](torch.ones(1, 8, 5, 5)),
        net[-2:](torch.ones(1, 2, 16, 16)),
    ):
        assert output.flatten(2).std(2).max() < 1e-6


@pytest.mark.parametrize(("size", "levels"), [(64, 4), (28, 3), (40, 3), (48, 4), (8, 2)])
def test_the_number_of_levels_leaves_fewer_than_six_pixels(size, levels):
    with torch.device("meta"):
        critic, net = PyramidCritic((1, size, size)), Bottleneck((1, size, size), (1, size, size))
    assert len(critic.levels) == levels
    assert len(net.encoder.config["channels"]) == len(net.decoder.config["channels"]) == levels


def test_features_are_the_outputs_of_the_levels():
    critic, x = PyramidCritic((3, 64, 64), width=2).eval(), torch.rand(2, 3, 64, 64)
    features = critic.features(x)
    again = critic.levels[2](features[0])
    assert torch.equal(again, features[1])
    assert torch.equal(critic.last(features[-1]).flatten(), critic(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: UNet((1, 28, 28), (1, 28, 30)),
            r"shape = \(1, 28, 30\).*the same height and width",
        ),
        (lambda: UNet((1, 28, 28), (1, 28, 28), depth=5), "depth = 5.*up to 4 levels"),
        (lambda: UNet((1, 28, 28), (1, 28, 28), dropout=1.0), r"dropout is in \[0, 1\)"),
        (lambda: ResNet((3, 6, 6), (3, 6, 6)), "at least 8 pixels"),
        (lambda: ResNet((3,), (3,)), "bottleneck"),
        (lambda: PatchCritic((1, 28, 28), layers=4), "48 pixels or more"),
        (lambda: PatchCritic((5,)), "need images"),
        (lambda: PyramidCritic((1, 4, 4)), "8 pixels or more"),
    ],
)
def test_unsuitable_settings_are_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make()


def test_the_parts_work_in_other_models():
    gan = build(
        {"name": "gan", "critic": {"name": "patch", "width": 4}, "generator": "mlp"},
        shape=(1, 16, 16),
    )
    assert gan.critic_loss(torch.rand(3, 1, 16, 16))["loss"].isfinite()
