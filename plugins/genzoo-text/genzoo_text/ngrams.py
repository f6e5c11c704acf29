"""How far the n-grams of samples are from those of held-out lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.contract import Metric, Positive
from genzoo.errors import DataError, SettingError
from genzoo_text.blocks import symbols_of

_AT_ONCE = 500
"""Samples drawn together."""


def ngrams(symbols: Tensor, n: int, base: int) -> Tensor:
    r"""Every n-gram of every line as one number, \( \sum_j s_j V^{n-1-j} \): `(N, L)` -> `(N * (L - n + 1),)`.

    Arguments:
        symbols: integers from 0 to V - 1.
        n: how many neighbors.
        base: V.

    Example:
        >>> ngrams(torch.tensor([[1, 2, 3]]), n=2, base=10)
        tensor([12, 23])
    """
    places = base ** torch.arange(n - 1, -1, -1)
    return (symbols.long().unfold(1, n, 1) * places).sum(dim=-1).flatten()


def js(one: Tensor, other: Tensor) -> float:
    r"""The Jensen-Shannon divergence between the frequencies of values in two samples, in bits, from 0 to 1.

    \[ \tfrac12 \mathrm{KL}(p, m) + \tfrac12 \mathrm{KL}(q, m), \quad m = \tfrac12 (p + q) \]

    Arguments:
        one: integers, `(N,)`.
        other: integers, `(M,)`.

    Example:
        >>> js(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])), js(torch.tensor([0, 1]), torch.tensor([2, 3]))
        (0.0, 1.0)
    """
    values, places = torch.cat([one, other]).unique(return_inverse=True)
    p, q = (
        torch.bincount(part, minlength=len(values)).double() / len(part)
        for part in places.split([len(one), len(other)])
    )
    m = (p + q) / 2
    nats = sum(torch.special.xlogy(distribution, distribution / m).sum() for distribution in (p, q))
    return min(1.0, max(0.0, float(nats) / 2 / math.log(2)))  # rounding leads out of [0, 1]


class NgramJS(Metric):
    r"""The Jensen-Shannon divergence, in bits, between the n-grams of samples and those of held-out lines, each beside its floor.

    Every other held-out line is the reference. As many samples are compared with it, and so are the remaining lines in their
    stead: that is the floor. Both are biased upwards, the more the fewer lines there are and the larger n is, so compare only
    values of equal numbers. Lastly the remaining lines are compared once their characters have changed places at random, among
    all of them: lengths and frequencies of characters stay as they are, and nothing else does.

    N-grams are taken over all L places, padding included, as the authors of WGAN-GP do: so the lengths of lines count, and where
    lines are short most n-grams are of padding alone, which makes all three values small.

    Arguments:
        orders: n goes from 1 to this.
        samples: how many samples are drawn at most; half as many as there are held-out lines where that is less.

    Returns:
        for each n, `js_n`, `js_n_floor` and `js_n_shuffled`.

    Raises:
        SettingError: n-grams are longer than lines, or are too many to be numbered.
        DataError: there are fewer than two held-out lines, or they are not one-hot.

    References:
        Improved Training of Wasserstein GANs, Gulrajani, Ahmed, Arjovsky, Dumoulin and Courville, 2017,
            https://arxiv.org/abs/1704.00028; code: https://github.com/igul222/improved_wgan_training (language_helpers.py)

    Example:
        >>> from genzoo import build
        >>> small = {"width": 8, "depth": 1}
        >>> model = build({"name": "char-wgan-gp", "generator": small, "critic": small}, shape=(6, 5))
        >>> sorted(NgramJS(orders=1)(model, [model.example(10)]))
        ['js_1', 'js_1_floor', 'js_1_shuffled']
    """

    needs: ClassVar[tuple[str, ...]] = ("sample",)

    def __init__(self, orders: Positive = 4, samples: Positive = 10_000) -> None:
        self.orders, self.samples = orders, samples

    def lacking(self, model: Any) -> list[str]:
        lines = [] if len(model.shape) == 2 else ["lines of symbols, of shape (length, symbols)"]
        alone = (
            []
            if len(model.inputs) == 1 and not model.given
            else ["a single input, and samples without given"]
        )
        return [*super().lacking(model), *lines, *alone]

    @torch.no_grad()
    def __call__(self, model: Any, batches: Iterable[Tensor]) -> Mapping[str, float]:
        length, base = model.shape
        if self.orders > length or base**self.orders >= 2**63:
            raise SettingError(
                f"ngram-js: orders = {self.orders} is too much for lines of {length} out of {base} symbols."
            )
        found, rows = [], 0
        for x in batches:
            found.append(symbols_of(x, "ngram-js").cpu())
            rows += len(x)
            if rows >= 2 * self.samples:
                break
        n = min(self.samples, rows // 2)
        if not n:
            raise DataError(f"ngram-js needs two held-out lines at least, and there are {rows}.")
        reference, other = torch.cat(found)[: 2 * n].view(n, 2, length).unbind(1)
        sampled = torch.cat(
            [model.sample(min(_AT_ONCE, n - i)).argmax(-1).cpu() for i in range(0, n, _AT_ONCE)]
        )
        compared = {"": sampled, "_floor": other, "_shuffled": _shuffled(other)}
        return {
            f"js_{order}{which}": js(ngrams(lines, order, base), ngrams(reference, order, base))
            for order in range(1, self.orders + 1)
            for which, lines in compared.items()
        }


def _shuffled(symbols: Tensor) -> Tensor:
    """All symbols but the padding, number 0, dealt out anew at random over the places where they stand."""
    mixed, own = symbols.clone(), symbols != 0
    held = symbols[own]
    mixed[own] = held[torch.randperm(len(held))]
    return mixed
