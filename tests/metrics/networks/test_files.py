"""The networks whose weights come from a file, against published facts and other implementations.

The published files are not here, so the weights are random.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import genzoo
from genzoo.errors import DataError, SettingError
from genzoo.metrics import DINOv2, Inception
from genzoo.metrics.networks.dinov2 import VisionTransformer
from genzoo.metrics.networks.inception import FIDInception
from genzoo.testing import checks


def inception_weights():
    """Return weights of a fixed recipe, in the order of their names."""
    with torch.device("meta"):
        shapes = {name: x.shape for name, x in FIDInception().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name in sorted(shapes):
        if name.endswith("num_batches_tracked"):
            continue
        x = torch.rand(shapes[name], generator=generator)
        if name.endswith("conv.weight"):
            weights[name] = (x - 0.5) * (24 / x[0].numel()) ** 0.5
        else:
            weights[name] = x + 0.5 if name.endswith(("weight", "var")) else x - 0.5
    return weights


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save({**inception_weights(), **classifier}, path)
    return str(path)


def test_inception_equals_pytorch_fid(inception_file):
    """The numbers are the output of pytorch-fid 0.3.0 for these weights and images."""
    network = Inception((3, 40, 52), inception_file)
    x = torch.rand(2, 3, 40, 52, generator=torch.Generator().manual_seed(1))
    features = network(x)
    assert features.shape == (2, 2048)
    expected = [
        [5.713593006134033, 6.572693347930908, 2.139039993286133, 5.517099380493164],
        [5.812058448791504, 6.588866710662842, 2.2007036209106445, 5.740616798400879],
    ]
    np.testing.assert_allclose(features[:, :4].numpy(), expected, rtol=1e-4)
    norms = [482.9586181640625, 486.2583923339844]
    np.testing.assert_allclose(features.norm(dim=1).numpy(), norms, rtol=1e-5)
    together = network(torch.cat([x, x.flip(0)]))
    torch.testing.assert_close(together[2:], features.flip(0), rtol=1e-4, atol=1e-4)


def test_inception_has_the_published_weights():
    """Keras counts 23,851,784 weights.

    It has three numbers per channel of batch norm, torch has two parameters and two statistics, and
    this network has no classifier of 1,000 classes.
    """
    with torch.device("meta"):
        network = FIDInception()
    channels = sum(len(m.weight) for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    parameters = sum(p.numel() for p in network.parameters())
    assert channels == 34_432 / 2
    assert parameters + channels + 2048 * 1000 + 1000 == 23_851_784
    shapes = {name: tuple(x.shape) for name, x in network.state_dict().items()}
    assert len([name for name in shapes if name.endswith("conv.weight")]) == 94
    for name, shape in {
        "Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_6a.branch3x3dbl_3.bn.running_var": (96,),
        "Mixed_6c.branch7x7dbl_4.conv.weight": (160, 160, 7, 1),
        "Mixed_7a.branch7x7x3_2.conv.weight": (192, 192, 1, 7),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch1x1.bn.num_batches_tracked": (),
    }.items():
        assert shapes[name] == shape


def test_inception_reads_gray_images_and_is_versioned(inception_file, tmp_path):
    gray, color = Inception((1, 9, 9), inception_file), Inception((3, 9, 9), inception_file)
    x = torch.rand(2, 1, 9, 9)
    torch.testing.assert_close(gray(x), color(x.repeat(1, 3, 1, 1)), rtol=1e-4, atol=1e-4)
    assert gray.version == color.version
    other = {name: x + (0.1 if name == "Conv2d_1a_3x3.bn.bias" else 0) for name, x in
             inception_weights().items()}  # fmt: skip
    save_file(other, tmp_path / "other.safetensors")
    changed = Inception((1, 9, 9), str(tmp_path / "other.safetensors"))
    assert changed.version != gray.version
    assert not torch.allclose(changed(x), gray(x))
    assert not any(p.requires_grad for p in gray.parameters())
    before = torch.get_rng_state()
    Inception((1, 9, 9), inception_file).train()(x)
    assert torch.equal(torch.get_rng_state(), before)


def transformer_weights(dim=128, depth=2, hidden=96, patch=14, grid=37):
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = VisionTransformer(dim, depth, hidden, patch, grid)
    return {
        name: torch.randn(x.shape, generator=generator) / max(1, x[0].numel()) ** 0.5
        for name, x in network.state_dict().items()
    }


@pytest.fixture
def transformer_file(tmp_path):
    path = tmp_path / "dinov2.pth"
    torch.save(transformer_weights(), path)
    return str(path)


def cubic(distance, a=-0.75):
    """Return the kernel of bicubic interpolation."""
    t = np.abs(distance)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def resampling(size, grid, scale):
    """Return the matrix (size, grid) of bicubic interpolation; the borders are repeated."""
    matrix = np.zeros((size, grid))
    for row in range(size):
        center = (row + 0.5) / scale - 0.5
        for tap in range(int(np.floor(center)) - 1, int(np.floor(center)) + 3):
            matrix[row, np.clip(tap, 0, grid - 1)] += cubic(center - tap)
    return matrix


def reference_transformer(weights, x, heads):
    """Compute the class token with torch's own transformer layers.

    Their residuals have no scale, so the scales are multiplied into the weights before them.
    """
    w = {name: value.double() for name, value in weights.items()}
    dim, hidden = w["cls_token"].shape[-1], len(w["blocks.0.mlp.fc1.bias"])
    patches = x.double().unfold(2, 14, 14).unfold(3, 14, 14)
    patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2)
    tokens = patches @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    side, grid = x.shape[-1] // 14, 37
    m = torch.from_numpy(resampling(side, grid, (side + 0.1) / grid))
    embeddings = w["pos_embed"][0, 1:].unflatten(0, (grid, grid))
    embeddings = torch.einsum("ia,jb,abd->ijd", m, m, embeddings).flatten(0, 1)
    tokens = tokens + embeddings
    first = (w["cls_token"] + w["pos_embed"][:, :1]).expand(len(x), -1, -1)
    tokens = torch.cat([first, tokens], dim=1)
    for number in range(2):
        part = {
            name.removeprefix(f"blocks.{number}."): value
            for name, value in w.items()
            if name.startswith(f"blocks.{number}.")
        }
        layer = nn.TransformerEncoderLayer(
            dim, heads, hidden, dropout=0.0, activation="gelu", layer_norm_eps=1e-6,
            batch_first=True, norm_first=True, dtype=torch.float64,
        )  # fmt: skip
        attention, mlp = part["ls1.gamma"], part["ls2.gamma"]
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": part["attn.qkv.weight"],
                "self_attn.in_proj_bias": part["attn.qkv.bias"],
                "self_attn.out_proj.weight": attention[:, None] * part["attn.proj.weight"],
                "self_attn.out_proj.bias": attention * part["attn.proj.bias"],
                "linear1.weight": part["mlp.fc1.weight"],
                "linear1.bias": part["mlp.fc1.bias"],
                "linear2.weight": mlp[:, None] * part["mlp.fc2.weight"],
                "linear2.bias": mlp * part["mlp.fc2.bias"],
                **{name: part[name] for name in part if name.startswith("norm")},
            }
        )
        with torch.no_grad():
            tokens = layer(tokens)
    normalized = F.layer_norm(tokens[:, 0], (dim,), w["norm.weight"], w["norm.bias"], 1e-6)
    return normalized.float()


def test_dinov2_equals_a_transformer_of_torch(transformer_file):
    network = DINOv2((3, 224, 224), transformer_file)
    x = torch.rand(2, 3, 224, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalized = (x - mean[:, None, None]) / std[:, None, None]
    expected = reference_transformer(transformer_weights(), normalized, heads=2)
    torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-3)
    assert network.dim == 128
    assert network.version.startswith("dinov2-width-128-v1 (")


def test_dinov2_at_the_size_of_its_training_uses_the_stored_positions():
    weights = transformer_weights()
    with torch.device("meta"):
        network = VisionTransformer(128, 2, 96)
    network.load_state_dict(weights, assign=True)
    assert network._positions(37) is network.pos_embed
    assert network._positions(16).shape == (1, 257, 128)


def test_dinov2_resizes_images_and_reads_gray_ones(transformer_file):
    gray, color = (DINOv2((channels, 9, 12), transformer_file) for channels in (1, 3))
    x = torch.rand(2, 1, 9, 12)
    torch.testing.assert_close(gray(x), color(x.repeat(1, 3, 1, 1)))
    flat = DINOv2((1, 224, 224), transformer_file)
    constant = torch.full((1, 1, 9, 12), 0.3)
    torch.testing.assert_close(gray(constant), flat(torch.full((1, 1, 224, 224), 0.3)))


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ((384, 12, 1536), 22_056_576),
        ((768, 12, 3072), 86_580_480),
        ((1024, 24, 4096), 304_368_640),
    ],
)
def test_dinov2_has_the_published_weights(sizes, count):
    with torch.device("meta"):
        network = VisionTransformer(*sizes)
    assert sum(p.numel() for p in network.parameters()) == count
    names = set(network.state_dict())
    assert {"cls_token", "pos_embed", "mask_token", "norm.weight"} <= names
    last = f"blocks.{sizes[1] - 1}"
    for name in ("ls1.gamma", "attn.qkv.bias", "attn.proj.weight", "mlp.fc2.bias", "norm2.bias"):
        assert f"{last}.{name}" in names


@pytest.mark.parametrize("check", ["features", "fixed", "rows", "config", "deepcopy"])
def test_dinov2_conforms(check, transformer_file):
    suite = checks("dinov2", "networks", weights=transformer_file)
    for one in suite:
        if one.name == check:
            one()
    assert check in {one.name for one in suite}


def test_an_evaluation_names_the_file(transformer_file):
    network = {"name": "dinov2", "weights": transformer_file}
    metric = {"name": "kernel-distance", "network": network}
    evaluation = genzoo.evaluate(torch.rand(20, 8, 8), "digits", metric)
    assert evaluation.skipped == {}
    assert {row.network for row in evaluation} == {DINOv2((1, 8, 8), transformer_file).version}


@pytest.mark.parametrize("name", ["inception", "dinov2"])
def test_unsuitable_files_are_refused_by_name(name, tmp_path):
    def built(content=None, file="weights.pth"):
        path = tmp_path / file
        if content is not None:
            torch.save(content, path)
        return genzoo.build({"name": name, "weights": str(path)}, "networks", shape=(3, 8, 8))

    with pytest.raises(DataError, match=rf"{name}: .*nowhere\.pth does not exist; download"):
        built(file="nowhere.pth")
    with pytest.raises(DataError, match=r"weights\.pth holds a list; expected a state dict"):
        built([1, 2])
    with pytest.raises(DataError, match=r"weights\.pth cannot be read as weights"):
        built(object())
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(DataError, match=r"text\.safetensors cannot be read as weights"):
        built(file="text.safetensors")
    with pytest.raises(DataError, match=r"weights\.pth does not hold the weights of this network"):
        built({"classifier.weight": torch.zeros(3)})
    with pytest.raises(SettingError, match=f"{name} reads gray or color images"):
        genzoo.build({"name": name, "weights": "w.pth"}, "networks", shape=(5,))
    with pytest.raises(SettingError, match="needs a setting 'weights'"):
        genzoo.build(name, "networks", shape=(3, 8, 8))


def test_missing_unknown_and_reshaped_weights_are_listed(tmp_path):
    weights = transformer_weights()
    del weights["norm.bias"]
    weights["register_tokens"] = torch.zeros(1, 4, 128)
    weights["norm.weight"] = torch.zeros(7)
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(DataError) as error:
        DINOv2((3, 8, 8), str(tmp_path / "w.pth"))
    for text in ("lacks norm.bias", "unknown weights register_tokens", "norm.weight (7,) instead"):
        assert text in str(error.value)
    torch.save(
        transformer_weights(dim=64) | {"cls_token": torch.zeros(1, 1, 70)}, tmp_path / "w.pth"
    )
    with pytest.raises(DataError, match=r"70 features .*multiple of 64"):
        DINOv2((3, 8, 8), str(tmp_path / "w.pth"))
    giant = {name.replace("fc1", "w12"): x for name, x in transformer_weights().items()}
    torch.save(giant, tmp_path / "w.pth")
    with pytest.raises(DataError, match="ViT-g/14 is not supported"):
        DINOv2((3, 8, 8), str(tmp_path / "w.pth"))
