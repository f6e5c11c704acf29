"""Encoders, decoders, and critics: shapes, norms, compilation, and the invariances of norms."""

import copy
import math

import pytest
import torch
from torch import nn

import genzoo
from genzoo.blocks.conv import ConvCritic, ConvDecoder, ConvEncoder, default_channels
from genzoo.blocks.mlp import MLPDecoder, MLPEncoder
from genzoo.errors import SettingError

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 25, 31), (2, 4, 7)]
CONV_NORMS = ["none", "batch", "layer", "instance", "spectral"]
MLP_NORMS = ["none", "batch", "layer", "spectral"]
CASES = [
    *(
        ("conv", shape, norm)
        for shape in IMAGES
        for norm in CONV_NORMS
        if norm != "instance" or min(shape[1:]) > 4
    ),
    *(
        ("mlp", shape, norm)
        for shape in [(5,), (1, 8, 8), (3, 25, 31), (4, 6)]
        for norm in MLP_NORMS
    ),
]
SMALL = {"conv": {"channels": (4, 6)}, "mlp": {"hidden": (12, 8)}}
UPSAMPLING = ["nearest", "bilinear", "transposed"]


def parts(name, shape, norm, dim=1):
    """Return an encoder, a decoder, and a critic, each with an input."""
    settings = {"name": name, "norm": norm, **SMALL[name]}
    x, z = torch.rand(4, *shape), torch.randn(4, dim)
    return [
        (genzoo.build(settings, "encoders", shape=shape, dim=dim), x, (4, dim)),
        (genzoo.build(settings, "decoders", dim=dim, shape=shape), z, (4, *shape)),
        (genzoo.build(settings, "critics", shape=shape), x, (4,)),
    ]


@pytest.mark.parametrize(("name", "shape", "norm"), CASES)
def test_shapes_precision_and_gradients(name, shape, norm):
    for part, given, expected in parts(name, shape, norm):
        assert part(given).shape == expected
        if norm != "batch":
            assert part(given[:1]).shape == (1, *expected[1:])
        double = part.double()(given.double())
        assert double.dtype == torch.float64
        double.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "norm"), [case for case in CASES if case[1] in ((3, 25, 31), (5,))]
)
def test_compiles_without_graph_breaks_and_equals_eager(name, shape, norm):
    for part, given, _ in parts(name, shape, norm):
        torch.compiler.reset()
        twin = copy.deepcopy(part)
        torch.testing.assert_close(
            torch.compile(twin, fullgraph=True, backend="eager")(given), part(given)
        )


@pytest.mark.parametrize("norm", MLP_NORMS)
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_a_decoder_mirrors_an_encoder_with_the_same_settings(name, norm):
    """The weights of a decoder have the shapes of an encoder's weights in reverse order."""
    (encoder, _, _), (decoder, _, _), _ = parts(name, (3, 25, 31), norm, dim=5)
    if name == "conv":
        settings = {"name": name, "norm": norm, **SMALL[name], "upsample": "transposed"}
        decoder = genzoo.build(settings, "decoders", dim=5, shape=(3, 25, 31))
    weights = [
        sorted(p.numel() for p in part.parameters() if p.dim() > 1) for part in (encoder, decoder)
    ]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_a_critic_is_an_encoder_with_one_feature(name):
    (encoder, x, _), _, (critic, _, _) = parts(name, (1, 8, 8), "layer")
    encoder = type(encoder)((1, 8, 8), 1, activation="leaky-relu", norm="layer", **SMALL[name])
    encoder.load_state_dict(critic.encoder.state_dict())
    torch.testing.assert_close(critic(x), encoder(x)[:, 0])


def test_an_mlp_without_hidden_layers_is_linear():
    decoder = MLPDecoder(2, (3, 2), hidden=())
    z, w = torch.randn(2, 4, 2), torch.tensor([0.3, 0.7])
    mixed = w[0] * z[0] + w[1] * z[1]
    torch.testing.assert_close(decoder(mixed), w[0] * decoder(z[0]) + w[1] * decoder(z[1]))


def test_an_mlp_equals_the_hand_calculation():
    encoder = MLPEncoder((2,), 1, hidden=(2,), activation="leaky-relu").double()
    (first, _, last) = (layer for layer in encoder.net if not isinstance(layer, nn.Flatten))
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.0]]))
        first.bias.copy_(torch.tensor([0.5, 0.0]))
        last.weight.copy_(torch.tensor([[2.0, 10.0]]))
        last.bias.copy_(torch.tensor([1.0]))
    # hidden: 1 + 4 + 0.5 = 5.5, and -1 with slope 0.2; out: 2 * 5.5 - 10 * 0.2 + 1
    torch.testing.assert_close(
        encoder(torch.tensor([[1.0, 2.0]]).double()), torch.tensor([[10.0]]).double()
    )


@pytest.mark.parametrize(
    ("activation", "value"),
    [
        ("relu", 0.0),
        ("leaky-relu", -0.2),
        ("elu", math.expm1(-1)),
        ("silu", -1 / (1 + math.e)),
        ("gelu", -0.5 * (1 + math.erf(-1 / math.sqrt(2)))),
        ("tanh", math.tanh(-1)),
    ],
)
def test_activations(activation, value):
    encoder = MLPEncoder((1,), 1, hidden=(1,), activation=activation)
    assert encoder.net[2](torch.tensor(-1.0)).item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_spectral_norm_bounds_every_layer(name):
    part = genzoo.build(
        {"name": name, "norm": "spectral", **SMALL[name]}, "critics", shape=(1, 8, 8)
    )
    for _ in range(200):  # one power iteration per call
        part(torch.rand(2, *part.shape))
    layers = [layer for layer in part.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert len(layers) == 3
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=1e-3)


def outputs_after(part, kind, x):
    """Return the outputs of the layers of a class."""
    seen = []
    for layer in part.modules():
        if isinstance(layer, kind):
            layer.register_forward_hook(lambda _, __, y: seen.append(y))
    part(x)
    return seen


@pytest.mark.parametrize(
    ("norm", "kind", "over"),
    [
        ("batch", nn.BatchNorm2d, (0, 2, 3)),
        ("layer", nn.GroupNorm, (1, 2, 3)),
        ("instance", nn.InstanceNorm2d, (2, 3)),
    ],
)
def test_norms_standardize_the_right_axes(norm, kind, over):
    shape, channels = (1, 32, 32), (4, 6, 8)
    encoder = ConvEncoder(shape, 2, channels, norm=norm)
    decoders = [ConvDecoder(2, shape, channels, norm=norm, upsample=name) for name in UPSAMPLING]
    # a decoder has a norm after its linear layer, and interpolation adds a layer at full size
    counts = [4, 4, 3]
    for part, x, count in (
        (encoder, torch.rand(8, *shape), 2),
        *((d, 50 * torch.randn(8, 2), count) for d, count in zip(decoders, counts, strict=True)),
    ):
        seen = outputs_after(part, kind, x)
        assert len(seen) == count
        # only the first: deeper layers of an untrained network may have variances below the epsilon
        for y in seen[:1]:
            torch.testing.assert_close(
                y.mean(over), torch.zeros_like(y.mean(over)), atol=1e-5, rtol=0
            )
            torch.testing.assert_close(
                y.var(over, correction=0), torch.ones_like(y.mean(over)), atol=0.2, rtol=0
            )


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 25, 31), (4, 65, 47), (2, 9, 8)])
def test_interpolating_decoders_are_their_formula(upsample, shape):
    """Interpolate, pad, and convolve by hand with the weights of the decoder."""
    decoder = ConvDecoder(3, shape, activation="tanh", upsample=upsample).double()
    linear, *convolutions = [m for m in decoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    z = torch.randn(2, 3, dtype=torch.float64)
    levels = len(convolutions) - 1
    sizes = [(shape[1] >> level, shape[2] >> level) for level in range(levels + 1)]
    x = (z @ linear.weight.T + linear.bias).view(2, -1, *sizes[levels])
    for level, convolution in zip(reversed(range(levels)), convolutions, strict=False):
        (height, width), (rows, columns) = sizes[level], x.shape[2:]
        if upsample == "nearest":
            i = torch.arange(height) * rows // height
            j = torch.arange(width) * columns // width
            enlarged = x.tanh()[:, :, i][:, :, :, j]
        else:
            along_rows = linear_weights(height, rows)
            along_columns = linear_weights(width, columns)
            enlarged = along_rows @ x.tanh() @ along_columns.T
        x = convolved(enlarged, convolution)
    x = convolved(x.tanh(), convolutions[-1])
    torch.testing.assert_close(decoder(z), x)


def linear_weights(outputs, inputs):
    """Return the matrix that interpolates `inputs` values linearly to `outputs` values."""
    centers = ((torch.arange(outputs).double() + 0.5) * inputs / outputs - 0.5).clamp(0, inputs - 1)
    distances = (centers[:, None] - torch.arange(inputs)).abs()
    return (1 - distances).clamp(min=0)


def convolved(x, layer):
    """Return a 3x3 convolution as a sum over shifted images."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    height, width = x.shape[2:]
    y = layer.bias[:, None, None]
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + height, j : j + width]
            y = y + torch.einsum("oc,nchw->nohw", layer.weight[:, :, i, j], window)
    return y


def test_depth_and_channels_follow_the_size_of_the_image():
    depths = {3: 1, 4: 2, 8: 2, 16: 2, 28: 3, 32: 3, 47: 3, 64: 4, 128: 5}
    for side, depth in depths.items():
        channels = tuple(min(32 * 2**level, 256) for level in range(depth))
        assert default_channels((3, side, side + 3)) == channels
    encoder = ConvEncoder((1, 65, 47), 2)
    widths = [m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [32, 64, 128]


def test_no_bias_before_a_norm_that_cancels_it():
    for norm, biased in (
        ("none", True),
        ("batch", False),
        ("instance", False),
        ("layer", True),
        ("spectral", True),
    ):
        layers = [
            layer
            for layer in ConvEncoder((1, 8, 8), 2, norm=norm).net
            if isinstance(layer, nn.Conv2d | nn.Linear)
        ]
        assert [layer.bias is not None for layer in layers] == [True, biased, True]


def test_only_batch_norm_mixes_examples():
    x = torch.rand(4, 1, 8, 8)
    for norm in CONV_NORMS:
        encoder = ConvEncoder((1, 8, 8), 2, norm=norm)
        together, alone = encoder(x)[:2], encoder(x[:2])
        assert torch.allclose(together, alone, atol=1e-2) == (norm != "batch"), norm


@pytest.mark.parametrize("norm", ["none", "layer", "instance", "spectral"])
def test_a_gradient_penalty_can_be_computed_with_function_transforms(norm):
    critic = ConvCritic((1, 8, 8), (4, 6), norm=norm).double().eval()
    parameters = dict(critic.named_parameters())
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(critic(x).sum(), x)
    gradient = torch.func.grad(
        lambda x: torch.func.functional_call(critic, parameters, (x,)).sum()
    )(x.detach())
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: ConvEncoder((64,), 2),
            "shape = (64,): convolutions need images (C, H, W); take 'mlp'",
        ),
        (
            lambda: ConvDecoder(2, (4, 4)),
            "shape = (4, 4): convolutions need images (C, H, W); take 'mlp'",
        ),
        (
            lambda: ConvCritic((1, 9, 4), channels=(8, 8, 8)),
            "channels = (8, 8, 8): each level halves images of 9 x 4; "
            "give 1 to 2 levels, or take 'mlp'.",
        ),
        (
            lambda: ConvEncoder((3, 1, 5), 2),
            "channels = None: each level halves images of 1 x 5; take 'mlp'.",
        ),
        (
            lambda: ConvEncoder((1, 8, 8), 2, channels=()),
            "channels = (): each level halves images of 8 x 8; give 1 to 3 levels",
        ),
        *[
            (
                make,
                'norm = "instance" needs more than one pixel, but 2 levels leave one of '
                "images of 4 x 7; give fewer channels",
            )
            for make in (
                lambda: ConvEncoder((2, 4, 7), 2, norm="instance"),
                lambda: ConvDecoder(2, (2, 4, 7), norm="instance"),
                lambda: ConvCritic((2, 4, 7), norm="instance"),
            )
        ],
        (lambda: MLPEncoder((4,), 2, norm="instance"), 'MLPEncoder.norm = "instance": expected'),
        (lambda: MLPEncoder((4,), 0), "MLPEncoder.dim = 0: expected"),
    ],
)
def test_unsuitable_settings_are_refused_with_a_fix(make, text):
    with pytest.raises(SettingError) as caught:
        make()
    assert str(caught.value).startswith(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_an_autoencoder_of_blocks_learns(name):
    """300 steps on eight fixed images bring the error far below that of the mean image."""
    x = torch.rand(8, 1, 9, 10)
    # images of noise need more channels at full size than the other tests
    settings = {"name": name, **({"channels": (16, 24)} if name == "conv" else SMALL[name])}
    encoder = genzoo.build(settings, "encoders", shape=(1, 9, 10), dim=8)
    decoder = genzoo.build(settings, "decoders", dim=8, shape=(1, 9, 10))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (decoder(encoder(x)) - x).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * (x - x.mean(0)).square().mean().item()
