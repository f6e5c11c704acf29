import numpy as np
import pytest
from scipy.io import savemat

from genzoo.data.house_numbers import svhn
from genzoo.errors import DataError

X = np.random.RandomState(0).randint(0, 256, (32, 32, 3, 4), dtype=np.uint8)
Y = np.array([[10], [1], [9], [3]], np.uint8)


@pytest.fixture
def files(tmp_path):
    savemat(tmp_path / "train_32x32.mat", {"X": X, "y": Y})
    savemat(tmp_path / "test_32x32.mat", {"X": X[..., 1:3], "y": Y[1:3]})
    return tmp_path


def test_images_have_their_channels_first_and_10_is_the_digit_0(files):
    data = svhn(str(files))
    assert (data.shape, data.rows("train"), data.rows("test")) == ((3, 32, 32), 4, 2)
    for n in range(4):
        assert np.array_equal(data.train["x"][n], np.moveaxis(X[..., n], 2, 0))
    assert data.train["y"].tolist() == [0, 1, 9, 3]
    assert data.train["y"].dtype == np.int64
    assert data.test["y"].tolist() == [1, 9]
    assert data.class_names == tuple("0123456789")


def test_damaged_and_missing_files_are_named(files):
    savemat(files / "test_32x32.mat", {"X": X.astype(float), "y": Y})
    with pytest.raises(DataError, match=r"test_32x32.mat holds X of float64"):
        svhn(str(files))
    savemat(files / "test_32x32.mat", {"X": X, "y": Y + 1})
    with pytest.raises(DataError, match="labels from 2 to 11, not 1 to 10"):
        svhn(str(files))
    (files / "test_32x32.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"test_32x32.mat cannot be read as a MATLAB file"):
        svhn(str(files))
    (files / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match=r"has no test_32x32.mat; download http://ufldl"):
        svhn(str(files))
