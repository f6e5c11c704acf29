"""The plot of latent codes: points by class, a projection that is stated, and prior contours."""

import numpy as np
import pytest
import torch

import genzoo
from genzoo.errors import SettingError
from genzoo.plots import latent_codes

Y = torch.arange(90) % 9


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_classes_have_their_points_their_names_and_a_look_of_their_own():
    codes = torch.randn(90, 2)
    figure = latent_codes(codes, Y, ["zero", "$1$", "two"])
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")
    looks = set()
    for label, points in enumerate(axes.collections):
        np.testing.assert_allclose(np.asarray(points.get_offsets()), codes[label == Y], rtol=1e-6)
        (path,) = points.get_paths()
        looks.add((tuple(points.get_facecolor()[0]), len(path.vertices)))
    assert len(looks) == 9
    names = ["zero", "$1$", "two", "3", "4", "5", "6", "7", "8"]
    assert texts(figure.legends[0]) == names


def test_codes_of_more_coordinates_are_projected_on_their_principal_components():
    scales = torch.tensor([0.1, 5.0, 0.2, 3.0])
    codes = torch.randn(500, 4) * scales + 7
    axes = latent_codes(codes).axes[0]
    share = 25 / (25 + 9 + 0.05)
    title, percent = axes.get_xlabel().split(" (")
    assert title == "principal component 1"
    assert abs(int(percent.split("%")[0]) - 100 * share) <= 4
    points = np.asarray(axes.collections[-1].get_offsets())
    for column, coordinate in ((0, 1), (1, 3)):
        correlation = np.corrcoef(points[:, column], codes[:, coordinate])[0, 1]
        assert abs(correlation) > 0.99


def test_contours_hold_shares_of_the_prior():
    prior = genzoo.build({"name": "normal", "dim": 2, "scale": 2.0}, "priors")
    codes = torch.randn(50, 2)
    state = torch.get_rng_state()
    axes = latent_codes(codes, prior=prior).axes[0]
    assert torch.equal(state, torch.get_rng_state())
    contours = axes.collections[0]
    # a share p of a normal distribution in the plane is within the radius sqrt(-2 log(1 - p))
    expected = [2 * np.sqrt(-2 * np.log(1 - share)) for share in (0.9, 0.5)]
    for path, radius in zip(contours.get_paths(), expected, strict=True):
        radii = np.linalg.norm(path.vertices, axis=1)
        assert radii.mean() == pytest.approx(radius, rel=0.04)
    assert texts(axes.get_legend()) == ["90% of prior", "50% of prior"]


def test_the_prior_is_projected_like_the_codes():
    prior = genzoo.build({"name": "normal", "dim": 3}, "priors")
    codes = torch.randn(400, 3) * torch.tensor([1.0, 4.0, 2.0]) + torch.tensor([0.0, 10.0, 0.0])
    axes = latent_codes(codes, prior=prior).axes[0]
    outer = axes.collections[0].get_paths()[0].vertices
    center = outer.mean(axis=0)
    # the mean of the codes is the origin, so the prior is 10 away along the first component
    assert abs(center[0]) == pytest.approx(10, abs=0.8)
    assert abs(center[1]) < 1


@pytest.mark.parametrize("shape", [(5,), (5, 1), (1, 2)])
def test_codes_without_a_plane_are_refused(shape):
    with pytest.raises(SettingError, match="codes of shape"):
        latent_codes(torch.randn(shape))


def test_each_code_has_a_label():
    with pytest.raises(SettingError, match=r"labels of shape \(89,\) for 90 codes"):
        latent_codes(torch.randn(90, 2), Y[:-1])


def test_codes_are_finite_and_labels_are_integers():
    codes = torch.randn(90, 2)
    with pytest.raises(SettingError, match=r"labels of dtype torch\.float32.*long"):
        latent_codes(codes, Y.float())
    codes[[3, 5], 1] = torch.nan
    with pytest.raises(SettingError, match=r"2 of 90 codes are not finite.*isfinite"):
        latent_codes(codes)


def test_a_negative_label_is_not_the_last_name():
    figure = latent_codes(torch.randn(90, 2), Y - 1, ["a", "b"])
    assert texts(figure.legends[0])[:4] == ["-1", "a", "b", "2"]


@pytest.mark.filterwarnings("ignore:Attempting to set identical")
def test_equal_codes_have_no_variance_to_share():
    axes = latent_codes(torch.ones(5, 3)).axes[0]
    assert "(0% of variance)" in axes.get_xlabel()
