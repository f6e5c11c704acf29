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


ALWAYS = (check_features, check_fixed, check_rows, check_config, check_deepcopy)
"""The checks of every feature network."""
