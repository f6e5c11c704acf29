"""The function `outliers`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genzoo.contract import Model
from genzoo.data.stream import iterate_split
from genzoo.metrics.evaluate import model_and_data
from genzoo.metrics.evidence import Evidence
from genzoo.metrics.outliers.result import OutlierScores
from genzoo.metrics.outliers.rows import read_rows
from genzoo.metrics.outliers.scores import Scorer
from genzoo.runs.result import Run

__all__ = ["outliers"]


def outliers(
    run: Run[Any] | Model | str | Path,
    data: Any,
    reference: Any = None,
    *,
    scores: str | Sequence[str] | None = None,
    n: int = 10_000,
    seed: int = 0,
    batch_size: int = 500,
    resize: bool = False,
) -> OutlierScores:
    r"""Score how unusual pictures or rows are for a trained model.

    A model gets the scores that it supports. In every score, higher means more unusual:

    - `negative_log_likelihood`: \( -\log p(x) \) in nats, of a model with `log_prob`.
    - `negative_elbo`: an upper bound on it with one latent draw, of a model with `elbo` only. It
      then replaces \( -\log p(x) \) in all scores below.
    - `typicality`: the distance of \( \log p(x) \) from its mean over training rows, in nats.
    - `independent_ratio` and `markov_ratio`: \( \log p_0(x) - \log p(x) \) in nats, for a
      background model \( p_0 \). They need images or levels.
    - `complexity_corrected`: \( -\log_2 p(x) - L(x) \) in bits, where \( L(x) \) is the length of
      the image as a PNG file.
    - `reconstruction_error`: \( \lVert x - \hat x \rVert^2 / D \), of a model with `reconstruct`.

    The likelihood of a single example is a poor score: models give images with little detail a
    higher likelihood than their own data. The ratios and the correction compare it with what a
    simple method predicts. Typicality also finds examples whose likelihood is too high.

    The background models count the levels of all training rows: \( \prod_d p_d(x_d) \) and the
    Markov chain \( \prod_d p_d(x_d \mid x_{d-1}) \) in raster order, with 1/2 added to each count.
    More than 32 levels are grouped into 16 bins. If the model is a density and the data are not
    dequantized, ratios and corrected values have an unknown constant, and their units say so. If a
    model of bits reads gray values, \( -\log p(x) \) is a cross-entropy instead of a likelihood:
    its unit says so, and there are no ratios and corrected values. By default, `markov_ratio` is
    also left out if its tables do not fit into memory.

    Held-out rows of the run are scored as well. They give each score its
    [p-value and AUROC](metrics/outliers.md#genzoo.metrics.OutlierScores).

    Arguments:
        run: the result of `fit`, a run folder, or a model with a single input.
        data: what to score: a file, a folder, or a list of them; the name of a dataset, a table,
            arrays, or a `Dataset`, whose held-out rows are scored if it has some, or else its
            training rows. Values are rounded to the levels of the run, and binarized or
            dequantized like its data. The name of a dataset wins over a path; write `./name` for
            the path.
        reference: the data of the inliers, with training and held-out rows. By default, the data of
            the run. A model needs them.
        scores: the name of a score, or several. By default, all that the model supports.
        n: the largest number of held-out rows, and of training rows for the mean of typicality. All
            rows of `data` are scored.
        seed: the seed of the choice of training rows, and of latent draws.
        batch_size: the number of rows per batch.
        resize: crop, resize, and convert pictures to the shape of the run, as the dataset
            [`folder`](data.md#genzoo.data.folder) does. Otherwise, a picture of another size, or
            with colors for a gray run, is an error.

    Returns:
        The scores of each row. Pictures that cannot be read are listed in `failed`.

    Raises:
        SettingError: there is no such file, dataset, or score, or the model does not support it.
        DataError: the data do not fit the model, no picture can be read, or there are no held-out
            rows.
        RunError: a path is not a run folder, or the data of its run have changed.

    References:
        Do Deep Generative Models Know What They Don't Know?, Nalisnick et al., 2019,
            https://arxiv.org/abs/1810.09136
        Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality, Nalisnick
            et al., 2019, https://arxiv.org/abs/1906.02994
        Likelihood Ratios for Out-of-Distribution Detection, Ren et al., 2019,
            https://arxiv.org/abs/1906.02845
        Input Complexity and Out-of-Distribution Detection with Likelihood-Based Generative Models,
            Serrà et al., 2020, https://arxiv.org/abs/1909.11480

    Example:
        >>> import genzoo
        >>> run = genzoo.fit("markov", {"name": "digits", "binarize": "threshold"})
        >>> scores = outliers(run, torch.rand(100, 8, 8), scores=["typicality"])
        >>> scores.units, scores.auroc("typicality").low > 0.9
        ({'typicality': 'nats'}, True)
        >>> sum(row.p_values["typicality"] < 0.01 for row in scores) > 50
        True
    """
    model, reference = model_and_data(run, reference)
    evidence = Evidence(model, reference, n=n, seed=seed, batch_size=batch_size)
    rows = read_rows(data, evidence.dataset, model.inputs[0], resize=resize)
    scorer = Scorer(evidence, [scores] if isinstance(scores, str) else scores)
    batches = iterate_split(rows.dataset, model.inputs, evidence.batch_size, model, "train")
    return OutlierScores(
        names=rows.names,
        scores=scorer(batches, "data"),
        inliers=scorer(evidence.batches(), "inliers"),
        units={score.name: score.unit for score in scorer.scores},
        data=rows.source,
        reference=evidence.dataset.name,
        failed=rows.failed,
    )
