"""Checks of feature networks: fixed features, one row per example."""

from __future__ import annotations

import torch

from genzoo.contract import FeatureNetwork
from genzoo.testing.subject import N, Subject, check_config, check_deepcopy, close, demand

__all__ = ["ALWAYS", "outputs"]


def outputs(network: FeatureNetwork, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return everything that a feature network computes."""
    with torch.no_grad():
        return {"features": network(x)}


def check_features(subject: Subject) -> None:
    """Check the version, and that features have the shape `(batch, dim)` and are finite."""
    network = subject()
    demand(isinstance(network, FeatureNetwork), f"{type(network).__name__} is not a FeatureNetwork")
    version = getattr(network, "version", None)
    demand(isinstance(version, str) and version != "", f"version = {version!r}: expected a name")
    demand(tuple(network.shape) == subject.shape, f"shape = {network.shape}")
    features = subject.results(network)["features"]
    demand(
        features.shape == (N, network.dim),
        f"features have the shape {tuple(features.shape)}, not {(N, network.dim)}",
    )
    demand(features.dtype == torch.float32, f"features are {features.dtype}, not float32")


def check_fixed(subject: Subject) -> None:
    """Check that features do not depend on the random state, and that they do not change it."""
    one, other = subject(seed=0), subject(seed=1)
    close(subject.results(other), subject.results(one), "features depend on the random state")
    demand(one.version == other.version, "the version depends on the random state")
    x = torch.rand(N, *subject.shape)
    before = torch.get_rng_state()
    outputs(one, x)
    demand(bool(torch.equal(torch.get_rng_state(), before)), "it draws random numbers")


def check_rows(subject: Subject) -> None:
    """Check that the features of an example do not depend on the other examples."""
    network = subject()
    x = torch.rand(N, *subject.shape)
    together = outputs(network, x)["features"]
    alone = torch.cat([outputs(network, row[None])["features"] for row in x])
    close({"features": alone}, {"features": together}, "features depend on the other examples")


def check_fit(subject: Subject) -> None:
    """Check that a network that learns does so once, in the same way each time."""
    if not subject().training_rows:
        return
    one, other = subject(seed=0), subject(seed=1)
    x = torch.rand(N, *subject.shape)
    version, before = one.version, torch.get_rng_state()
    note = one.fit(x)
    demand(bool(torch.equal(torch.get_rng_state(), before)), "fit draws random numbers")
    demand(isinstance(note, str), f"fit returns a {type(note).__name__}, not a sentence")
    demand(one.training_rows == 0, f"after fit, training_rows = {one.training_rows}, not 0")
    demand(one.version != version, f"the version is {version!r} before and after fit")
    other.fit(x)
    demand(one.version == other.version, "equal examples give different versions")
    close(subject.results(other), subject.results(one), "equal examples give different features")


ALWAYS = (check_features, check_fixed, check_rows, check_fit, check_config, check_deepcopy)
"""The checks of every feature network."""
