"""Samples of other programs: every form gives the same evaluation, and errors name the way out."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.errors import DataError, GenzooError, RunError, SettingError
from genzoo.metrics import Evidence, OnnxGenerator, Samples
from genzoo.metrics.samples import read_samples
from tests.metrics.onnx_file import write_generator

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (60, 8, 8), dtype=np.uint8)
"""Gray images, (n, H, W)."""
COLORS = RNG.integers(0, 256, (40, 6, 9, 3), dtype=np.uint8)
"""Color images with the channels last."""
TOY = {"name": "toy", "distribution": "8-gaussians", "rows": 100}
METRICS = ["frechet", "texture", "precision-recall"]


@pytest.fixture(scope="module")
def digits():
    return genzoo.build("digits", "datasets")


@pytest.fixture(scope="module")
def colors():
    x = torch.rand(60, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    return genzoo.Dataset({"x": x[:30]}, {"x": x[30:]}, name="colors")


def write_pictures(folder, images, modes=("L",)):
    folder.mkdir()
    for number, image in enumerate(images):
        picture = Image.fromarray(image).convert(modes[number % len(modes)])
        (folder / f"{number % 3}").mkdir(exist_ok=True)
        picture.save(folder / f"{number % 3}" / f"{number}.png")
    return folder


def rows_of(samples):
    """Return samples as a sorted list of rows, since their order is not defined."""
    return sorted(samples.flatten(1).tolist())


def test_all_forms_of_gray_images_are_equal(digits, tmp_path):
    floats = (PIXELS / 255).astype(np.float32)
    np.save(tmp_path / "a.npy", PIXELS)
    np.savez(tmp_path / "b.npz", floats[:, None])
    np.savez(tmp_path / "c.npz", labels=np.arange(60), x=floats[..., None].astype(np.float64))
    write_pictures(tmp_path / "d", PIXELS, ("L", "RGB", "RGBA", "LA", "P"))
    sources = [
        torch.from_numpy(floats),
        PIXELS[:, None],
        tmp_path / "a.npy",
        str(tmp_path / "b.npz"),
        tmp_path / "c.npz",
        tmp_path / "d",
    ]
    expected = sorted(floats.reshape(60, 64).tolist())
    for source in sources:
        evidence = Evidence(read_samples(source, digits), digits)
        assert evidence.n == 60
        assert evidence.samples.shape == (60, 1, 8, 8)
        np.testing.assert_allclose(rows_of(evidence.samples), expected, atol=1e-6)
    first, *others = (genzoo.evaluate(source, "digits", METRICS) for source in sources[:-1])
    for other in others:
        for one, two in zip(first, other, strict=True):
            assert one.value == pytest.approx(two.value, rel=1e-5)
            assert one.floor == two.floor
            assert (one.n, one.network) == (60, two.network)


def test_color_images_may_have_their_channels_last(colors, tmp_path):
    expected = rows_of(torch.from_numpy(COLORS).permute(0, 3, 1, 2) / 255)
    folder = write_pictures(tmp_path / "pictures", COLORS, ("RGB",))
    for source in (COLORS, COLORS.transpose(0, 3, 1, 2).copy(), folder):
        samples = read_samples(source, colors).sample(40)
        assert samples.dtype == torch.float32
        np.testing.assert_allclose(rows_of(samples), expected, atol=1e-6)
    gray = write_pictures(
        tmp_path / "gray", np.tile(PIXELS[:5, :6, :4], (1, 1, 3))[..., :9], ("L",)
    )
    samples = read_samples(gray, colors).sample(5)
    assert torch.equal(samples[:, 0], samples[:, 2])


def test_vectors_keep_their_values(tmp_path):
    points = RNG.normal(size=(50, 2))
    np.save(tmp_path / "points.npy", points)
    modes = genzoo.evaluate(tmp_path / "points.npy", TOY, "modes")
    assert "high_quality" in {row.quantity for row in modes}
    toy = genzoo.build(TOY, "datasets")
    samples = Evidence(read_samples(points, toy), toy).samples
    np.testing.assert_allclose(rows_of(samples), sorted(points.tolist()), rtol=1e-6)


def test_metrics_that_need_a_model_are_left_out(digits):
    evaluation = genzoo.evaluate(PIXELS, digits, n=50)
    measured = {row.metric for row in evaluation}
    assert {"frechet", "kernel-distance", "memorization", "texture", "two-sample"} <= measured
    assert measured.isdisjoint({"reconstruction", "likelihood", "codes"})
    assert measured.isdisjoint(evaluation.skipped)
    with pytest.raises(SettingError, match=r"'reconstruction' needs reconstruct.*Samples"):
        genzoo.evaluate(PIXELS, digits, "reconstruction")


def test_a_seed_chooses_among_many_samples(digits):
    many = np.tile(PIXELS, (6, 1, 1))
    many[:, 0, 0] = np.arange(360) % 256
    many[:, 0, 1] = np.arange(360) // 256
    evidences = [Evidence(read_samples(many, digits), digits, seed=seed) for seed in (0, 0, 1)]
    samples = [evidence.samples for evidence in evidences]
    assert [evidence.n for evidence in evidences] == [297] * 3
    assert len({tuple(row) for row in rows_of(samples[0])}) == 297
    assert torch.equal(samples[0], samples[1])
    assert rows_of(samples[0]) != rows_of(samples[2])
    assert genzoo.evaluate(PIXELS[:20], digits, "texture", n=500).n == 20
    assert genzoo.evaluate(PIXELS, digits, "texture", n=9).n == 9


def test_samples_of_the_data_reach_the_floor(digits):
    """The training images are samples of the right distribution."""
    train = torch.as_tensor(digits.train["x"]) / 16
    evaluation = genzoo.evaluate(train, digits, ["frechet", "memorization"])
    distance = evaluation["frechet", "distance"]
    assert distance.value < 3 * distance.floor
    noise = genzoo.evaluate(torch.rand(297, 8, 8), digits, "frechet")
    assert noise["frechet", "distance"].value > 10 * distance.floor
    assert evaluation["memorization", "nearer_to_train"].value > 0.55


@pytest.mark.parametrize(
    ("array", "value_range", "message"),
    [
        (np.zeros((9, 8, 7)), None, r"\(8, 7\), but digits has .*\(1, 8, 8\); resize"),
        (np.zeros((9, 3, 8, 8)), None, r"\(3, 8, 8\), but digits"),
        (np.zeros((9, 64)), None, r"\(64,\), but digits"),
        (np.zeros((0, 8, 8)), None, "no samples"),
        (PIXELS.astype(np.int64), None, "int64; save uint8"),
        (PIXELS > 9, None, "bool; save uint8"),
        (PIXELS * 1.0, None, r"span 0 to 255, .*\[0, 1\].*--range 0 255"),
        (PIXELS / 127.5 - 1, None, r"span -1 to 1, .*\[0, 1\].*--range -1 1"),
        (PIXELS / 127.5 - 2, (-1, 1), r"span -2 to 0, which exceeds .*\(-1, 1\)"),
        (PIXELS // 16, None, r"span 0 to 15, but uint8 .* 0 to 255; .*--range 0 16"),
        (np.full((9, 8, 8), np.nan), None, "not finite"),
        (np.full((9, 8, 8), np.inf), None, "not finite"),
    ],
)
def test_unsuitable_arrays_are_refused_by_name(digits, array, value_range, message):
    with pytest.raises(DataError, match=f"samples.*{message}"):
        genzoo.evaluate(array, digits, "texture", value_range=value_range)


def test_bits_for_binarized_levels_have_the_range_of_bits():
    data = {"name": "digits", "binarize": "threshold"}
    bits = (PIXELS > 127).astype(np.uint8)
    with pytest.raises(DataError, match=r"span 0 to 1, but uint8 .*\(0, 1\) \(--range 0 1\)"):
        genzoo.evaluate(bits, data, "texture")
    samples = read_samples(bits, genzoo.build(data, "datasets"), (0, 1)).sample(60)
    assert rows_of(samples) == rows_of(torch.from_numpy(bits))


def test_a_range_is_mapped_to_the_unit_interval(digits):
    expected = rows_of(torch.from_numpy(PIXELS).float() / 255)
    for array, value_range in (
        (PIXELS / 127.5 - 1, (-1, 1)),
        (PIXELS * 1.0, (0, 255)),
        (PIXELS, None),
    ):
        samples = read_samples(array, digits, value_range).sample(60)
        np.testing.assert_allclose(rows_of(samples), expected, atol=1e-6)
    levels = read_samples(PIXELS // 16, digits, (0, 16)).sample(60)
    np.testing.assert_allclose(
        rows_of(levels), sorted((PIXELS // 16 / 16).reshape(60, 64).tolist())
    )
    for value_range in ((1, 1), (1, -1)):
        with pytest.raises(SettingError, match=r"value_range = \(1, .*increasing"):
            read_samples(PIXELS, digits, value_range)
    with pytest.raises(SettingError, match=r"value_range .* samples of another program"):
        genzoo.evaluate(genzoo.build("vae", shape=(1, 8, 8)), digits, value_range=(-1, 1))


def test_unsuitable_pictures_are_refused_by_name(digits, colors, tmp_path):
    large = write_pictures(tmp_path / "large", RNG.integers(0, 256, (2, 28, 30), dtype=np.uint8))
    with pytest.raises(
        DataError,
        match=r"0\.png is a gray picture of 28 x 30 pixels, .* gray pictures of 8 x 8; convert",
    ):
        genzoo.evaluate(large, digits)
    colored = write_pictures(tmp_path / "colored", COLORS[:2], ("RGB",))
    gray = genzoo.Dataset({"x": torch.rand(9, 1, 6, 9)}, {"x": torch.rand(9, 1, 6, 9)})
    with pytest.raises(
        DataError, match=r"0\.png is a color picture.* data needs gray pictures of 6 x 9; convert"
    ):
        genzoo.evaluate(colored, gray)
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image.*repair or remove"):
        genzoo.evaluate(deep, digits)
    with pytest.raises(
        DataError,
        match=r"8-gaussians needs examples of shape \(2,\), which are not .* pictures; .*array",
    ):
        genzoo.evaluate(colored, TOY)


def test_unsuitable_files_are_refused_by_name(digits, tmp_path):
    (tmp_path / "broken.npy").write_bytes(b"not an array")
    (tmp_path / "broken.npz").write_bytes(b"PK not a zip")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "several.npz", mu=PIXELS, sigma=PIXELS)
    (tmp_path / "samples.pt").write_bytes(b"")
    for name, message in {
        "broken.npy": "cannot be read as an array.*np.save",
        "broken.npz": "cannot be read as an array",
        "empty.npy": "cannot be read as an array",
        "objects.npy": "cannot be read as an array",
        "several.npz": "arrays mu, sigma; name the samples 'x' or 'arr_0'",
        "samples.pt": r"no known format.*\.npy, \.npz, or \.onnx",
    }.items():
        with pytest.raises(DataError, match=f"{name}.*{message}"):
            genzoo.evaluate(tmp_path / name, digits)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty is not a run folder.*no images"):
        genzoo.evaluate(tmp_path / "empty", digits)
    with pytest.raises(RunError, match=r"nowhere\.npy is not a run folder: it does not exist"):
        genzoo.evaluate(tmp_path / "nowhere.npy", digits)
    with pytest.raises(RunError, match="nowhere is not a run folder"):
        genzoo.evaluate(tmp_path / "nowhere", digits)


def test_samples_need_data(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    with pytest.raises(SettingError, match=r"a\.npy.*no data of their own.*--data digits"):
        genzoo.evaluate(tmp_path / "a.npy")
    with pytest.raises(SettingError, match=r"samples.*no data of their own"):
        genzoo.evaluate(PIXELS)
    with pytest.raises(
        DataError, match="four held-out examples and as many samples, but there are 3"
    ):
        genzoo.evaluate(PIXELS[:3], "digits", "frechet")


def test_the_data_of_a_run_folder_can_be_used(tmp_path):
    data = TOY | {"seed": 3}
    genzoo.fit({"name": "vae", "latent_dim": 2}, data, tmp_path / "run", steps=2, batch_size=8)
    points = torch.randn(40, 2)
    by_table = genzoo.evaluate(points, data, "frechet")
    assert genzoo.evaluate(points, tmp_path / "run", "frechet") == by_table
    assert genzoo.evaluate(points, str(tmp_path / "run"), "frechet") == by_table


def test_rows_are_different_and_limited(digits):
    samples = read_samples(PIXELS, digits)
    assert len({tuple(row) for row in rows_of(samples.sample(60))}) == 60
    assert samples.sample(0).shape == (0, 1, 8, 8)
    with pytest.raises(SettingError, match=r"sample\(61\): there are only 60"):
        samples.sample(61)
    assert repr(samples).startswith("Samples(60 of shape (1, 8, 8)")
    assert isinstance(samples, Samples)


WEIGHTS = RNG.normal(size=(5, 64))


@pytest.mark.parametrize("noise", [("n", 5), ("n", 5, 1, 1), (1, 5), (7, 5)])
@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8, 1), (8, 8)])
def test_a_generator_equals_its_definition(digits, tmp_path, noise, shape):
    path = write_generator(tmp_path / "g.onnx", WEIGHTS, shape, noise=noise)
    generator = read_samples(path, digits)
    torch.manual_seed(3)
    samples = generator.sample(20)
    torch.manual_seed(3)
    size = noise[0] if isinstance(noise[0], int) else 20
    z = torch.cat([torch.randn(size, *noise[1:]) for _ in range(0, 20, size)])[:20]
    expected = 1 / (1 + np.exp(-z.flatten(1).double().numpy() @ WEIGHTS))
    np.testing.assert_allclose(samples.flatten(1).numpy(), expected, atol=1e-5)
    assert samples.shape == (20, 1, 8, 8)
    assert generator.sample(0).shape == (0, 1, 8, 8)


def test_a_generator_with_other_noise_is_refused(digits, tmp_path):
    path, settings = tmp_path / "g.onnx", {"shape": (1, 8, 8), "noise": ("n", 5)}
    for distribution in ('{"name": "normal", "dim": 5, "scale": 1.0}', "3"):
        facts = f'{{"z": {{"distribution": {distribution}}}}}'
        write_generator(path, WEIGHTS, **settings, facts=facts)
        assert read_samples(path, digits).sample(2).shape == (2, 1, 8, 8)
    for distribution in ('{"name": "mog", "dim": 5}', '{"name": "normal", "scale": 2.0}'):
        facts = f'{{"z": {{"distribution": {distribution}}}}}'
        write_generator(path, WEIGHTS, **settings, facts=facts)
        with pytest.raises(DataError, match=r"g\.onnx .*(mog|2\.0).* evaluate the run itself"):
            read_samples(path, digits)


def test_a_generator_is_evaluated_with_the_seed(tmp_path):
    path = write_generator(tmp_path / "g.onnx", WEIGHTS, (1, 8, 8), noise=("n", 5))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, again, other = (
        genzoo.evaluate(path, "digits", METRICS, n=80, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.rand(3), expected)
    assert first == again
    assert first["frechet", "distance"].value != other["frechet", "distance"].value
    assert first.n == 80


def test_the_range_of_a_generator_is_stated(digits, tmp_path):
    settings = {"shape": (1, 8, 8), "noise": ("n", 5)}
    path = write_generator(tmp_path / "g.onnx", WEIGHTS, last="Tanh", **settings)
    with pytest.raises(DataError, match=r"g\.onnx.*\[0, 1\].*--range -1 1"):
        genzoo.evaluate(path, digits)
    torch.manual_seed(3)
    samples = read_samples(path, digits, (-1, 1)).sample(20)
    torch.manual_seed(3)
    expected = (np.tanh(torch.randn(20, 5).double().numpy() @ WEIGHTS) + 1) / 2
    np.testing.assert_allclose(samples.flatten(1).numpy(), expected, atol=1e-5)


def test_unsuitable_generators_are_refused_by_name(digits, tmp_path):
    path, settings = tmp_path / "g.onnx", {"shape": (1, 8, 8), "noise": ("n", 5)}
    write_generator(path, WEIGHTS, **settings, more_inputs=[("y", ("n", 10))])
    with pytest.raises(DataError, match=r"g\.onnx has the inputs z .*y .*one input, the noise"):
        genzoo.evaluate(path, digits)
    write_generator(path, WEIGHTS, (1, 8, 8), noise=("n", "dim"))
    with pytest.raises(DataError, match=r"g\.onnx .*'dim'.*fixed size"):
        genzoo.evaluate(path, digits)
    write_generator(path, WEIGHTS, (1, 4, 16), noise=("n", 5))
    with pytest.raises(DataError, match=r"g\.onnx .*\(1, 4, 16\).*\(1, 8, 8\)"):
        genzoo.evaluate(path, digits)
    write_generator(path, WEIGHTS, (1, 8, 8), noise=("n", 4))
    with pytest.raises(DataError, match=r"g\.onnx.*fails for noise of shape"):
        genzoo.evaluate(path, digits)
    path.write_bytes(b"not a graph")
    with pytest.raises(DataError, match=r"g\.onnx cannot be read as an ONNX model"):
        OnnxGenerator(str(path), (1, 8, 8))


def test_levels_of_a_generator_are_refused(digits, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    write_generator(tmp_path / "g.onnx", WEIGHTS, (1, 8, 8), noise=("n", 5))
    levels = torch.full((500, 1, 8, 8), 15, dtype=torch.uint8)
    monkeypatch.setattr(OnnxGenerator, "_run", lambda self, noise: levels[: len(noise)])
    with pytest.raises(DataError, match=r"g\.onnx: the values span 15 to 15.*--range 0 16"):
        genzoo.evaluate(tmp_path / "g.onnx", digits, "texture")


def test_a_generator_needs_onnxruntime(digits, tmp_path, monkeypatch):
    path = write_generator(tmp_path / "g.onnx", WEIGHTS, (1, 8, 8), noise=("n", 5))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(GenzooError, match=r"g\.onnx needs onnxruntime.*genzoo\[onnx\]"):
        genzoo.evaluate(path, digits)
