from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA


@pytest.fixture(scope="session")
def digits():
    """Return digits in [0, 1]^64, with probabilistic PCA by scikit-learn and in closed form."""
    x = load_digits().data / 16
    n, d = x.shape
    pca = PCA().fit(x)
    eigenvalues = pca.explained_variance_ * (n - 1) / n
    return SimpleNamespace(
        x=torch.from_numpy(x),
        mean=torch.from_numpy(pca.mean_),
        eigenvalues=torch.from_numpy(eigenvalues),
        axes=torch.from_numpy(pca.components_.T.copy()),
        discarded=eigenvalues[8:].sum(),
        score=PCA(8).fit(x).score(x),
        dim=d,
    )


@pytest.fixture
def rotation():
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0])
