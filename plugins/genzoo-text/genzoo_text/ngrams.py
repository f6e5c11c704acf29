"""A metric that compares the n-grams of samples with those of held-out lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Evidence, Measurement, Metric, Positive
from genzoo.errors import DataError, SettingError
from genzoo_text.blocks import symbols_of

__all__ = ["NgramJS", "js", "ngrams"]


def ngrams(symbols: Tensor, n: int, base: int) -> Tensor:
    r"""Return every n-gram of every line as one number, \( \sum_j s_j V^{n-1-j} \).

    Arguments:
        symbols: integers from 0 to V - 1, `(N, L)`.
        n: the number of adjacent symbols.
        base: V.

    Returns:
        Integers, `(N * (L - n + 1),)`.

    Example:
        >>> ngrams(torch.tensor([[1, 2, 3]]), n=2, base=10)
        tensor([12, 23])
    """
    powers = base ** torch.arange(n - 1, -1, -1)
    return (symbols.long().unfold(1, n, 1) * powers).sum(dim=-1).flatten()


def js(one: Tensor, other: Tensor) -> float:
    r"""Return the Jensen-Shannon divergence of the values in two samples, in bits, from 0 to 1.

    \[ \tfrac12 \mathrm{KL}(p, m) + \tfrac12 \mathrm{KL}(q, m), \quad m = \tfrac12 (p + q) \]

    Arguments:
        one: integers, `(N,)`.
        other: integers, `(M,)`.

    Example:
        >>> js(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]))
        0.0
        >>> js(torch.tensor([0, 1]), torch.tensor([2, 3]))
        1.0
    """
    values, indices = torch.cat([one, other]).unique(return_inverse=True)
    p, q = (
        torch.bincount(part, minlength=len(values)).double() / len(part)
        for part in indices.split([len(one), len(other)])
    )
    m = (p + q) / 2
    nats = sum(torch.special.xlogy(distribution, distribution / m).sum() for distribution in (p, q))
    bits = float(nats) / 2 / math.log(2)
    return min(1.0, max(0.0, bits))  # rounding can lead out of [0, 1]


class NgramJS(Metric):
    r"""The Jensen-Shannon divergence, in bits, between n-grams of samples and of held-out lines.

    Every second held-out line is part of the reference. Three sets of lines are compared with it:

    - the same number of samples;
    - the remaining held-out lines, which give the floor;
    - the remaining held-out lines with all their characters shuffled. This keeps the lengths of
      the lines and the frequencies of the characters, and destroys everything else.

    All values are biased upwards. The bias grows with n and shrinks with the number of lines, so
    compare only values for the same number of lines.

    N-grams cover all L positions with the padding, as in the code of WGAN-GP's authors. So the
    lengths of lines matter. If lines are short, most n-grams consist of padding, and all three
    values are small.

    Arguments:
        orders: the largest n; the metric measures n = 1 to `orders`.
        samples: the largest number of samples. It is at most half the number of held-out lines.

    Returns:
        For each n, `js_n` with its floor, and `js_n_shuffled`.

    Raises:
        SettingError: n-grams are longer than lines, or have more values than an int64 can number.
        DataError: the data have fewer than two held-out lines, or are not one-hot.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville,
            2017, https://arxiv.org/abs/1704.00028;
            code: https://github.com/igul222/improved_wgan_training (language_helpers.py)

    Example:
        >>> from genzoo import Dataset, build, evaluate
        >>> small = {"width": 8, "depth": 1}
        >>> table = {"name": "char-wgan-gp", "generator": small, "critic": small}
        >>> model = build(table, shape=(6, 5))
        >>> data = Dataset({"x": model.example(10)}, {"x": model.example(10)})
        >>> [row.quantity for row in evaluate(model, data, NgramJS(orders=1))]
        ['js_1', 'js_1_shuffled']
    """

    needs: ClassVar[tuple[str, ...]] = ("sample",)

    def __init__(self, orders: Positive = 4, samples: Positive = 10_000) -> None:
        self.orders, self.samples = orders, samples

    def lacking(self, model: Any) -> list[str]:
        """Return the needs that a model does not meet."""
        missing = super().lacking(model)
        if len(model.shape) != 2:
            missing.append("lines of symbols, of shape (length, symbols)")
        if len(model.inputs) > 1 or model.given:
            missing.append("a single input, and samples without given")
        return missing

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        """Yield the divergences for each n."""
        length, base = evidence.model.shape
        if self.orders > length or base**self.orders >= 2**63:
            raise SettingError(
                f"ngram-js: orders = {self.orders} is too large for lines of {length} out of "
                f"{base} symbols."
            )
        batches_of_symbols, rows = [], 0
        for x in evidence.examples("test"):
            batches_of_symbols.append(symbols_of(x, "ngram-js").cpu())
            rows += len(x)
            if rows >= 2 * self.samples:
                break
        n = min(self.samples, rows // 2)
        if not n:
            raise DataError(
                f"ngram-js needs at least two held-out lines, and the data have {rows}."
            )
        pairs = torch.cat(batches_of_symbols)[: 2 * n].view(n, 2, length)
        reference, other = pairs.unbind(1)
        samples, rows = [], 0
        for x in evidence.examples("samples"):
            samples.append(x.argmax(-1).cpu())
            rows += len(x)
            if rows >= n:
                break
        samples_of_n, shuffled = torch.cat(samples)[:n], _shuffled(other)
        for order in range(1, self.orders + 1):
            expected = ngrams(reference, order, base)
            divergence, floor, of_shuffled = (
                js(ngrams(lines, order, base), expected)
                for lines in (samples_of_n, other, shuffled)
            )
            yield Measurement(
                quantity=f"js_{order}", value=divergence, floor=floor, n=n, higher_is_better=False
            )
            yield Measurement(quantity=f"js_{order}_shuffled", value=of_shuffled, n=n)


def _shuffled(symbols: Tensor) -> Tensor:
    """Return lines with all symbols except the padding, number 0, shuffled across all lines."""
    shuffled, is_text = symbols.clone(), symbols != 0
    values = symbols[is_text]
    shuffled[is_text] = values[torch.randperm(len(values))]
    return shuffled
