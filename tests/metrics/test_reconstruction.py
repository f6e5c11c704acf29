from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genzoo.registry.build import build


def test_the_squared_error_is_per_pixel():
    x = torch.rand(5, 3, 4, 6)
    model = SimpleNamespace(shape=(3, 4, 6), batch_size=len, reconstruct=lambda x: x / 2)
    values = build("reconstruction", "metrics")(model, [x[:4], x[4:]])
    assert values == {"squared_error": pytest.approx(np.square(x.numpy()).mean() / 4, rel=1e-5)}
