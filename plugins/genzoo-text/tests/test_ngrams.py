"""N-grams and their divergence, compared with counters and SciPy."""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from genzoo_text.ngrams import NgramJS, js, ngrams
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch.nn.functional import one_hot

from genzoo import Dataset, Model, build
from genzoo.errors import DataError, SettingError
from genzoo.metrics import Evidence

LINES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.RandomState(seed).randint(0, 4, size=(7, 6))
)


def counted(lines, n):
    return Counter(
        tuple(line[i : i + n]) for line in lines.tolist() for i in range(len(line) - n + 1)
    )


def divergence(one, other, n):
    """Return the divergence from scipy, which computes its square root."""
    p, q = counted(one, n), counted(other, n)
    keys = sorted(p.keys() | q.keys())
    return jensenshannon([p[key] for key in keys], [q[key] for key in keys], base=2) ** 2


@given(LINES, LINES, st.integers(1, 6))
def test_the_divergence_equals_scipy(one, other, n):
    value = js(*(ngrams(torch.from_numpy(lines), n, base=4) for lines in (one, other)))
    assert value == pytest.approx(divergence(one, other, n), abs=1e-12)


@given(LINES, st.integers(1, 6))
def test_ngrams_are_counted_exactly(lines, n):
    counts = Counter(ngrams(torch.from_numpy(lines), n, base=4).tolist())
    assert counts == {
        sum(s * 4 ** (n - 1 - j) for j, s in enumerate(key)): count
        for key, count in counted(lines, n).items()
    }


def test_large_vocabularies_are_numbered_exactly():
    """Seven symbols out of 256 need 56 bits, more than a float64 has."""
    lines = torch.tensor([[255] * 7, [255] * 6 + [254]])
    assert ngrams(lines, 7, 256).tolist() == [256**7 - 1, 256**7 - 2]


def test_equal_samples_score_zero_and_different_alphabets_one_bit():
    lines = torch.randint(3, (20, 8))
    for n in range(1, 5):
        assert js(ngrams(lines, n, 6), ngrams(lines.flip(0), n, 6)) == 0
        assert js(ngrams(lines, n, 6), ngrams(lines + 3, n, 6)) == pytest.approx(1, abs=1e-12)


class Fixed:
    """A model whose samples are given lines, over and over."""

    inputs, given = ("x",), ()
    reference_tensor = torch.zeros(())
    unpack, batch_size = Model.unpack, Model.batch_size

    def __init__(self, lines, symbols):
        self.lines, self.shape = one_hot(lines, symbols).float(), (lines.shape[1], symbols)
        self.count = 0

    def sample(self, n):
        self.count += n
        return self.lines[torch.arange(self.count - n, self.count) % len(self.lines)]


def measure(metric, model, lines, **settings):
    """Return quantity -> value, and the floors under the names that end in `_floor`."""
    rows = list(metric(Evidence(model, Dataset({"x": lines}, {"x": lines}), **settings)))
    floors = {f"{row.quantity}_floor": row.floor for row in rows if row.floor is not None}
    return {**{row.quantity: row.value for row in rows}, **floors}


def test_the_metric_compares_equal_numbers_of_samples_and_lines():
    """Even rows are the reference, odd rows the floor. A model that repeats even rows scores 0."""
    real = torch.randint(5, (1300, 6))
    model = Fixed(real[::2].flip(0), 5)
    values = measure(NgramJS(orders=3), model, one_hot(real, 5).float(), batch_size=70)
    for n in (1, 2, 3):
        assert values[f"js_{n}"] == 0
        assert values[f"js_{n}_floor"] == pytest.approx(
            divergence(real[1::2].numpy(), real[::2].numpy(), n)
        )
    few = Fixed(real[1::2], 5)
    values = measure(NgramJS(orders=1, samples=100), few, one_hot(real, 5).float(), batch_size=70)
    assert (
        values["js_1"]
        == values["js_1_floor"]
        == pytest.approx(divergence(real[1:200:2].numpy(), real[:200:2].numpy(), 1))
    )


def test_shuffled_lines_keep_only_lengths_and_frequencies():
    """Padded lines "ab" and "abab" have the pairs ab and ba. Shuffling adds aa and bb."""
    real = torch.tensor([[1, 2, 0, 0], [1, 2, 0, 0], [1, 2, 1, 2], [1, 2, 1, 2]]).repeat(500, 1)
    values = measure(NgramJS(orders=2), Fixed(real[::2], 3), one_hot(real, 3).float())
    assert values["js_1_shuffled"] == values["js_1_floor"] == values["js_2_floor"] == 0
    # Six pairs in two lines: 1 ab, 1 b_, 1 __, and 2 ab, 1 ba. After shuffling, each of the four
    # inner pairs is one of four pairs, and the pair at the end of a word is a_ or b_.
    p = [3, 1, 1, 1, 0, 0, 0]  # ab, ba, b_, __, aa, bb, a_
    q = [1, 1, 0.5, 1, 1, 1, 0.5]
    assert values["js_2_shuffled"] == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=0.02)


def test_missing_requirements_are_named():
    assert NgramJS().lacking(SimpleNamespace(shape=(1, 8, 8), inputs=("x", "y"), given=())) == [
        "sample",
        "lines of symbols, of shape (length, symbols)",
        "a single input, and samples without given",
    ]
    assert build("ngram-js", "metrics").lacking(Fixed(torch.zeros(1, 4, dtype=torch.long), 3)) == []


def test_invalid_input_is_refused():
    model = Fixed(torch.zeros(9, 6, dtype=torch.long), 256)
    with pytest.raises(SettingError, match="orders = 7 is too large for lines of 6"):
        measure(NgramJS(orders=7), model, model.lines)
    long = Fixed(torch.zeros(9, 9, dtype=torch.long), 256)
    with pytest.raises(SettingError, match="orders = 8 is too large for lines of 9 out of 256"):
        measure(NgramJS(orders=8), long, long.lines)
    with pytest.raises(DataError, match="at least two held-out lines, and the data have 1"):
        measure(NgramJS(), model, model.lines[:1])
    with pytest.raises(DataError, match="one-hot"):
        measure(NgramJS(), model, model.lines / 2)
    assert math.log2(256**7) < 63 <= math.log2(256**8)
