"""ELBO surgery: the KL of a VAE is information in its codes plus a mismatch with the prior."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from genzoo.contract import Evidence, Measurement, Positive, Prior
from genzoo.errors import DataError
from genzoo.metrics.estimates import chunk_rows
from genzoo.metrics.one_input import OneInput, first_rows

__all__ = ["ElboSurgery", "aggregate_log_prob"]

_ENTRIES = 2**20
"""The numbers of a chunk of differences of codes and posterior means."""


def aggregate_log_prob(posteriors: Sequence[Distribution], z: Tensor) -> Tensor:
    r"""Compute the log-density of the aggregate posterior of n examples.

    \[ \log q_Z(z) = \log \frac 1n \sum_{i=1}^n q(z \mid x_i) \]

    Arguments:
        posteriors: batches of distributions on vectors `(dim,)`, with n distributions in total.
        z: codes, `(m, dim)`.

    Returns:
        `(m,)`, in nats.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.tensor([[-9.0], [9.0]]), 1.0), 1)
        >>> aggregate_log_prob([q], torch.tensor([[9.0]]))  # log N(9; 9, 1) - log 2
        tensor([-1.6121], dtype=torch.float64)
    """
    n = sum(q.batch_shape[0] for q in posteriors)
    chunks = []
    for rows in z.split(chunk_rows(n * z.shape[1], _ENTRIES)):
        terms = [q.log_prob(rows[:, None]).double().logsumexp(dim=1) for q in posteriors]
        chunks.append(torch.stack(terms).logsumexp(dim=0))
    return torch.cat(chunks) - math.log(n)


class ElboSurgery(OneInput):
    r"""The two parts of the KL term of the ELBO.

    \[ E_x\, \mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big)
       = I_q(x; z) + \mathrm{KL}(q_Z \,\|\, p), \qquad q_Z = E_x\, q(z \mid x) \]

    The first part is the mutual information of the index of an example and its code. It is 0 if the
    posterior has collapsed. The second part is the difference between all codes and the prior. It
    is the loss of a model that samples from the prior, and a better prior reduces it.

    Both parts are estimated with the aggregate posterior of the same n examples, and one code of
    each. The information cannot exceed log n. In expectation it is a lower bound on that of the
    whole distribution, and `marginal_kl` is an upper bound. If `mutual_information` is close to
    its `bound`, n is too small to measure it. The estimates add up to `kl` exactly. For a model
    with labels, an example is an image with its label, and the aggregate is over all labels.

    Arguments:
        limit: the largest number of examples. The cost grows with its square.

    Returns:
        `kl`, `mutual_information`, and `marginal_kl`, in nats, with standard errors; and
            `bound`: log n.

    Raises:
        DataError: there are fewer than two held-out examples.

    References:
        ELBO Surgery: Yet Another Way to Carve Up the Variational Evidence Lower Bound, Matthew
            Hoffman and Matthew Johnson, 2016,
            http://approximateinference.org/accepted/HoffmanJohnson2016.pdf
        On Variational Bounds of Mutual Information, Ben Poole et al., 2019,
            https://arxiv.org/abs/1905.06922 (the bound log n)

    Example:
        >>> from genzoo import build, evaluate
        >>> vae = build("vae", shape=(1, 8, 8))
        >>> rows = evaluate(vae, "digits", "elbo-surgery", n=50)
        >>> kl, information, marginal, bound = (row.value for row in rows)
        >>> abs(kl - information - marginal) < 1e-9, information <= bound
        (True, True)
    """

    needs: ClassVar[tuple[str, ...]] = ("posterior", "prior")

    def __init__(self, limit: Positive = 2000) -> None:
        self.limit = limit

    def lacking(self, model: Any) -> list[str]:
        """Return the missing requirements; the prior needs a density."""
        lacking = super().lacking(model)
        if not lacking and getattr(type(model.prior), "log_prob", None) in (None, Prior.log_prob):
            lacking.append("a prior with a density")
        return lacking

    @torch.no_grad()
    def __call__(self, evidence: Evidence) -> Iterator[Measurement]:
        model: Any = evidence.model
        posteriors: list[Distribution] = []
        codes, log_q, log_prior = [], [], []
        for x, condition in first_rows(evidence.conditioned(), self.limit):
            q = model.posterior(x, **condition)
            z = q.sample()
            posteriors.append(q)
            codes.append(z)
            log_q.append(q.log_prob(z).double())
            log_prior.append(model.prior.log_prob(z).double())
        rows = sum(map(len, codes))
        if rows < 2:
            raise DataError(f"ELBO surgery needs at least two held-out examples, not {rows}.")
        conditional, prior = torch.cat(log_q), torch.cat(log_prior)
        aggregate = aggregate_log_prob(posteriors, torch.cat(codes))
        parts = {
            "kl": conditional - prior,
            "mutual_information": conditional - aggregate,
            "marginal_kl": aggregate - prior,
        }
        for name, nats in parts.items():
            yield Measurement.from_examples(name, nats.cpu())
        yield Measurement(quantity="bound", value=math.log(rows), n=rows, estimator="log n")
