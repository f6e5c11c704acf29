"""A model that cannot be trained raises an error that names the reason."""

import pytest
import torch
from torch import nn

import genzoo
from genzoo.errors import SettingError

DATA = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))
VAE = {"name": "vae", "latent_dim": 2, "decoder": {"name": "mlp", "hidden": [8]}}


@genzoo.encoders.register("test-lazy")
class Lazy(genzoo.contract.Encoder):
    def __init__(self, shape: tuple[int, ...], dim: int, size: bool = False) -> None:
        super().__init__()
        self.shape, self.dim = shape, dim
        self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(dim))
        if size:
            self(torch.zeros(1, *shape))

    def forward(self, x):
        return self.net(x)


@pytest.mark.slow
def test_lazy_layers_are_refused_until_they_have_weights(tmp_path):
    table: dict = {**VAE, "encoder": "test-lazy"}
    with pytest.raises(
        SettingError,
        match=r"encoder.net.1 \(LazyLinear\) is a lazy module.*nn.Linear.*in the constructor",
    ):
        genzoo.fit(table, DATA, tmp_path / "run", steps=1, batch_size=8)
    assert not (tmp_path / "run").exists()
    table["encoder"] = {"name": "test-lazy", "size": True}
    run = genzoo.fit(table, DATA, tmp_path / "run", steps=1, batch_size=8, ema=0.9)
    assert genzoo.load(run.folder).encode(DATA).shape == (32, 2)
