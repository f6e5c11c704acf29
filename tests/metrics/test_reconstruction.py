import numpy as np
import pytest
import torch

from tests.metrics.stand_in import StandIn, measurements


def test_the_squared_error_is_per_pixel():
    x = torch.rand(5, 3, 4, 6)
    model = StandIn((3, 4, 6), reconstruct=lambda x: x / 2)
    row = measurements("reconstruction", model, x, batch_size=4)["squared_error"]
    errors = np.square(x.numpy()).mean(axis=(1, 2, 3)) / 4
    assert row.value == pytest.approx(errors.mean(), rel=1e-5)
    assert row.standard_error == pytest.approx(errors.std(ddof=1) / 5**0.5, rel=1e-5)
    assert (row.n, row.higher_is_better) == (5, False)
