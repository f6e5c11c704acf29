"""The fine texture of samples: their power at the highest spatial frequencies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from genzoo.contract import Evidence, Figure, Measurement
from genzoo.errors import DataError
from genzoo.metrics.one_output import ImageMetric
from genzoo.plots.charts import spectrum

__all__ = ["Texture", "high_frequency_power"]

_LOWEST = 0.4
"""The lower end of the band in cycles per pixel; 0.5 is the Nyquist frequency."""


def high_frequency_power(images: Tensor) -> Tensor:
    r"""Compute the power of images at periods of 2 to 2.5 pixels.

    \[ P(x) = \frac{1}{(HW)^2} \sum_{c} \sum_{\max(|u|, |v|) \ge 0.4}
       \Big| \sum_{i, j} x_{cij}\, e^{-2 \pi \mathrm{i} (u i + v j)} \Big|^2 \]

    The frequencies \( u \) and \( v \) are in cycles per pixel. Over all frequencies, the power is
    the mean square of the pixels, summed over the channels.

    Arguments:
        images: images, `(n, C, H, W)`.

    Returns:
        `(n,)`.

    Example:
        >>> stripes = torch.tensor([0.0, 1.0]).repeat(8, 4)[None, None]
        >>> high_frequency_power(stripes)  # the variance of the pixels
        tensor([0.2500])
    """
    return _high(_spectrum(images))


def _spectrum(images: Tensor) -> Tensor:
    """Return the power at each frequency, summed over the channels, `(n, H, W)`."""
    height, width = images.shape[-2:]
    return (torch.fft.fft2(images.float()).abs().square() / (height * width) ** 2).sum(dim=1)


def _frequencies(height: int, width: int) -> Tensor:
    """Return max(|u|, |v|) of each frequency, `(H, W)`."""
    rows, columns = torch.fft.fftfreq(height).abs(), torch.fft.fftfreq(width).abs()
    return torch.maximum(rows[:, None], columns)


def _high(spectrum: Tensor) -> Tensor:
    """Return the power of the band, `(n,)`."""
    high = _frequencies(*spectrum.shape[1:]) >= _LOWEST
    return (spectrum * high.to(spectrum.device)).sum(dim=(1, 2))


def _profile(spectrum: Tensor) -> dict[float, float]:
    """Return frequency -> mean power, of a mean spectrum `(H, W)`, without the frequency 0."""
    frequencies = _frequencies(*spectrum.shape)
    return {
        frequency: spectrum[frequencies == frequency].mean().item()
        for frequency in frequencies.unique().tolist()[1:]
    }


class Texture(ImageMetric):
    r"""The power of samples at the highest spatial frequencies, divided by that of real images.

    \[ \frac{E_{x \sim q}\, P(x)}{E_{x \sim p}\, P(x)} \]

    P is the power at periods of 2 to 2.5 pixels (see `high_frequency_power`). A ratio above 1 shows
    noise or a grid, such as that of transposed convolutions. A ratio below 1 shows blur. The
    features of the Fréchet distance see neither well. The ratio says nothing about the content of
    images. The figure `spectrum` of the report shows all frequencies.

    Returns:
        `power_ratio`. Its floor is the ratio of one half of the held-out images (every other image)
        to the other half, or its inverse, whichever is above 1.

    Raises:
        DataError: there are fewer than two held-out images, or they have no power at these
            frequencies.

    References:
        Deconvolution and Checkerboard Artifacts, Odena, Dumoulin and Olah, 2016,
            https://doi.org/10.23915/distill.00003
        Watch your Up-Convolution, Durall, Keuper and Keuper, 2020,
            https://arxiv.org/abs/2003.01826

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> [row.quantity for row in evaluate(vae, "digits", "texture", n=50)]
        ['power_ratio']
    """

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        real, generated, total = [], [], torch.zeros(2, *evidence.model.shape[1:]).double()
        for x, samples in evidence.pairs():
            spectra = [_spectrum(images).cpu() for images in (x, samples)]
            real.append(_high(spectra[0]))
            generated.append(_high(spectra[1]))
            total += torch.stack([spectrum.double().sum(dim=0) for spectrum in spectra])
        powers = torch.cat(real).double()
        if len(powers) < 2:
            raise DataError(
                f"The texture needs at least two held-out images, but there are {len(powers)}."
            )
        halves = powers[::2].mean().item(), powers[1::2].mean().item()
        if not min(halves) > 0:
            raise DataError(
                "The held-out images have no power at periods of 2 to 2.5 pixels, so there is "
                "nothing to compare with."
            )
        ratio = torch.cat(generated).double().mean() / powers.mean()
        names = ("held-out images", "samples")
        profiles = {name: _profile(z) for name, z in zip(names, total / evidence.n, strict=True)}
        draw = partial(spectrum, profiles, _LOWEST)
        figure = Figure("Power of samples and of held-out images by frequency", draw, is_plot=True)
        evidence.figures.setdefault("spectrum", figure)
        yield Measurement(
            quantity="power_ratio",
            value=ratio.item(),
            floor=max(halves) / min(halves),
            n=len(powers),
            estimator="ratio of means",
        )
