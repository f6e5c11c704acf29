"""genzoo's models as estimators of scikit-learn."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from genzoo.contract import Dataset, Model, has_capability
from genzoo.contract.inputs import whole
from genzoo.distributed.random_state import exclusive, reseed
from genzoo.divergences.distances import energy_distance
from genzoo.errors import PluginError, SettingError, show
from genzoo.loading import load
from genzoo.registry.build import build
from genzoo.registry.lookup import registry
from genzoo.runs.saving import save
from genzoo.train.loop import fit

__all__ = ["GenerativeEstimator"]

_CHUNK = 1024
"""The number of rows that a method passes to the model at once, which bounds memory."""
_DOUBLE = ', or set train={"precision": "64-true"}'
_LARGEST = 1e38
"""The largest value in single precision, rounded."""
_LARGEST_DOUBLE = 1e150
"""The largest value in double precision whose square does not overflow, rounded."""
_ROWS = 5000
"""The largest number of rows that `score` compares with samples, because it compares all pairs."""
_SAMPLES = 1000
"""The smallest number of samples that `score` compares with the rows."""


def _supports(*names: str) -> Callable[[Any], bool]:
    """Return a check that an estimator's model supports one of these methods."""

    def check(estimator: Any) -> bool:
        model = vars(estimator).get("model_")
        if model is None:
            if not isinstance(estimator.model, str):  # `fit` explains it
                return False
            try:
                model = registry("models").get(estimator.model)
            except (SettingError, PluginError):  # `fit` explains them
                return False
        return any(has_capability(model, name) for name in names)

    return check


class GenerativeEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""A generative model that learns the distribution of the rows of a table.

    Methods that a model does not support are absent. All models have `sample` and `score`.

    | method | models |
    | --- | --- |
    | `transform` | autoencoders: the latent code of each row, or the mean of its posterior |
    | `inverse_transform` | autoencoders and GANs: a row for each latent code |
    | `score_samples` | `rnade`, `nade`, `eonade`, `pixel-rnn`: \( \log p(x) \); `vae`: the ELBO |

    **Scales.** Columns may have any scale. The model computes with columns of mean 0 and standard
    deviation 1, and a column of equal values is only shifted. Samples and decoded rows are in the
    units of `X`, and so are log-densities: \( \log p(x) = \log p(z) - \sum_i \log s_i \), where
    \( z = (x - m) / s \). Two kinds of data are used as they are: images, and data for models of
    discrete values, such as `nade`, whose values are 0 and 1.

    **Images.** With the setting `shape`, such as `(1, 8, 8)`, each row is an image with values in
    [0, 1]. All results stay rows.

    **Precision.** Models compute in single precision, so results are float32. With
    `train={"precision": "64-true"}`, they are float64.

    **Pickles** contain the bytes of a run folder, which holds the trained model in `model_`. They
    are loaded on the CPU.

    Arguments:
        model: the name of a registered model.
        steps: the number of rounds to train for.
        batch_size: the number of rows in a batch, at most all rows.
        settings: arguments of the model, such as `{"latent_dim": 2}`.
        random_state: an integer, a `RandomState`, or None, which determines the weights, batches,
            noise, and the samples that `score` compares.
        train: other arguments of `genzoo.fit`, such as `{"device": "cpu", "ema": 0.999}`.

    Attributes:
        model_: the trained `genzoo.Model`, in eval mode.
        history_: the log of the training.
        n_features_in_: the number of columns.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> estimator = GenerativeEstimator("vae", steps=20, random_state=0)
        >>> codes = estimator.fit_transform(load_iris().data)
        >>> codes.shape, estimator.sample(3).shape
        ((150, 16), (3, 4))
    """

    def __init__(
        self,
        model: str = "wae-mmd",
        steps: int = 2000,
        batch_size: int = 128,
        settings: Mapping[str, Any] | None = None,
        random_state: Any = None,
        train: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.steps = steps
        self.batch_size = batch_size
        self.settings = settings
        self.random_state = random_state
        self.train = train

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002
        """Train a new model.

        Arguments:
            X: rows, `(n, n_features)`, at least two.
            y: ignored.

        Raises:
            ValueError: the data, the name of the model, or a setting are not valid.
        """
        for name in ("settings", "train"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise SettingError(f"{name} = {show(value)}: expected a dict, or None.")
        batch_size = whole(self.batch_size, f"batch_size = {show(self.batch_size)}", 1)
        rows = self._validated(X, reset=True)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        settings = {"shape": (rows.shape[1],), **(self.settings or {})}
        with exclusive():
            reseed(torch.device("cpu"), seed, "weights")
            model = self._built(settings)
        x = _shaped(rows, model)
        is_table = len(model.shape) == 1 and not model.is_discrete
        run = fit(
            model,
            Dataset({"x": x}, standardize=is_table, name="X"),
            progress=False,
            steps=self.steps,
            batch_size=min(batch_size, len(x)),
            seed=seed,
            **self._other_arguments(),
        )
        self.model_: Model = run.model
        self.history_ = run.history
        self._seed = seed
        return self

    def _built(self, settings: Mapping[str, Any]) -> Model:
        if not isinstance(self.model, str):
            raise SettingError(
                f"model = {show(self.model)}: expected the name of a registered model, such as "
                '"wae-mmd"; its arguments are settings.'
            )
        model: Model = build({"name": self.model, **settings})
        if model.inputs != ("x",):
            raise SettingError(
                f"{self.model} reads {', '.join(model.inputs)}, but GenerativeEstimator trains "
                "models of rows alone; use genzoo.fit, or leave classes out."
            )
        return model

    def _other_arguments(self) -> dict[str, Any]:
        arguments = dict(self.train or {})
        for name in ("steps", "batch_size", "seed", "progress"):
            if name in arguments:
                instead = "random_state" if name == "seed" else name
                raise SettingError(
                    f"train = {show(self.train)}: leave out {name}, which is "
                    + ("always off." if name == "progress" else f"the argument {instead}.")
                )
        return arguments

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Train a new model, and return the latent code of each row."""
        return self.fit(X, y).transform(X)

    def transform(self, X: Any) -> Any:
        """Return the latent code of each row, `(n, n_features)` -> `(n, latent_dim)`."""
        check_is_fitted(self)
        return self._map(self.model_.encode, _shaped(self._validated(X), self.model_))

    def inverse_transform(self, X: Any) -> Any:
        """Return the row of each latent code, `(n, latent_dim)` -> `(n, n_features)`."""
        check_is_fitted(self)
        codes = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns, but latent codes of this {self.model} have "
                f"{self._n_features_out}."
            )
        return self._map(self.model_.decode, torch.tensor(codes))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows from the model.

        Arguments:
            n_samples: the number of rows.
            random_state: an integer, a `RandomState`, or None, which draws other rows in each call.

        Returns:
            `(n_samples, n_features)`, in the units of the data.
        """
        check_is_fitted(self)
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        return _as_rows(self._draw(n_samples, seed))

    def _draw(self, n: int, seed: int) -> Tensor:
        device = self.model_.reference_tensor.device
        with exclusive(device):
            reseed(device, seed, "sample")
            return self.model_.sample(n)

    def score_samples(self, X: Any) -> Any:
        r"""Return the log-likelihood of each row, or a lower bound on it, in nats.

        The bound of a `vae` is estimated with one latent code per row. The draws depend on
        `random_state` only, so the same rows get the same values.

        Arguments:
            X: rows, `(n, n_features)`.

        Returns:
            `(n,)`. Lower values are more anomalous.
        """
        check_is_fitted(self)
        model = self.model_
        score = model.log_prob if has_capability(model, "log_prob") else model.elbo
        return self._map(score, _shaped(self._validated(X), model))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        r"""Return the mean of `score_samples`, or else minus the energy distance to samples.

        \[ -2\, E |x - \tilde x| + E |x - x'| + E |\tilde x - \tilde x'| \]

        Here \( x, x' \) are rows and \( \tilde x, \tilde x' \) are samples, with each column in
        units of its standard deviation in the training data. There are as many samples as rows, but
        at least 1,000. Of more than 5,000 rows, 5,000 are compared, at even distances.

        Arguments:
            X: rows, `(n, n_features)`.
            y: ignored.

        Returns:
            A number; higher is better.
        """
        check_is_fitted(self)
        if hasattr(self, "score_samples"):
            return float(self.score_samples(X).mean(dtype=np.float64))
        rows = self._validated(X)
        if len(rows) > _ROWS:
            rows = rows[torch.linspace(0, len(rows) - 1, _ROWS).long()]
        samples = self._draw(max(_SAMPLES, len(rows)), self._seed).flatten(1).cpu().double()
        scale = self.model_.data_scale.cpu().double() if self.model_.is_standardized else 1.0
        return -float(energy_distance(rows.double() / scale, samples / scale))

    @property
    def _n_features_out(self) -> int:
        """The number of latent coordinates, which the mixin for names of columns reads."""
        return int(self.model_.latent_dim)  # type: ignore[arg-type]

    def _validated(self, X: Any, *, reset: bool = False) -> Tensor:
        """Return checked rows, `(n, n_features)`."""
        rows = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_min_samples=2 if reset else 1,
        )
        is_double = (self.train or {}).get("precision") == "64-true"
        dtype, limit = ("float64", _LARGEST_DOUBLE) if is_double else ("float32", _LARGEST)
        largest = np.abs(rows).max()
        if largest > limit:
            raise ValueError(
                f"X contains {largest:.3g}, which is too large for {dtype}; the limit is "
                f"{limit:.0e}. Scale X{'' if is_double else _DOUBLE}."
            )
        return torch.tensor(rows)

    def _map(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Any:
        """Apply a function to rows in pieces, without gradients, with the random state of `fit`."""
        like = self.model_.reference_tensor
        with exclusive(like.device), torch.no_grad():
            reseed(like.device, self._seed, "map")
            return _as_rows(torch.cat([function(part.to(like)) for part in x.split(_CHUNK)]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if _supports("encode")(self):
            tags.transformer_tags.preserves_dtype = []
        else:
            tags.transformer_tags = None
        # each row of a batch gets other draws
        tags.non_deterministic = _supports("elbo")(self) and not _supports("log_prob")(self)
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                path = save(self.model_, Path(folder, "run"))
                state["model_"] = {file.name: file.read_bytes() for file in path.iterdir()}
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in state["model_"].items():
                    Path(folder, Path(name).name).write_bytes(content)
                state["model_"] = load(Path(folder))
        super().__setstate__(state)


_OPTIONAL = {
    "fit_transform": ("encode",),
    "transform": ("encode",),
    "inverse_transform": ("decode",),
    "score_samples": ("log_prob", "elbo"),
}
"""Method of the estimator -> methods; the model needs one of them."""

# not decorators, because the class wraps `transform` for `set_output`, which would hide the check
for _method, _needs in _OPTIONAL.items():
    _checked = available_if(_supports(*_needs))(getattr(GenerativeEstimator, _method))
    setattr(GenerativeEstimator, _method, _checked)


def _shaped(rows: Tensor, model: Model) -> Tensor:
    """Return rows as the examples of a model."""
    if math.prod(model.shape) != rows.shape[1]:
        raise ValueError(
            f"X has {rows.shape[1]} features, but shape = {tuple(model.shape)} has "
            f"{math.prod(model.shape)} values."
        )
    return rows.unflatten(1, tuple(model.shape))


def _as_rows(result: Tensor) -> Any:
    """Return rows or scores as an array of NumPy."""
    return result.flatten(1).cpu().numpy() if result.dim() > 2 else result.cpu().numpy()
