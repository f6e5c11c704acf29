"""The contract of evaluation: metrics, measurements, evidence, and feature networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

from torch import Tensor

from genzoo.contract.capabilities import has_capability
from genzoo.contract.dataset import Shape
from genzoo.contract.parts import Configurable, Part
from genzoo.registry.records import Recorded

__all__ = ["Evidence", "FeatureNetwork", "Figure", "Measurement", "Metric", "Source"]

Source = Literal["samples", "test", "train"]
"""The origin of examples: samples of the model, held-out rows, or training rows."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number that a metric measured, with everything that is needed to read it.

    Example:
        >>> Measurement(quantity="distance", value=3.2, floor=0.4, n=500).metric
        ''
    """

    metric: str = ""
    """The registered name of the metric. `genzoo.evaluate` fills it in."""
    quantity: str
    """The name of the number, such as `"distance"`."""
    value: float
    """The number."""
    standard_error: float | None = None
    """The standard error of the value, or None if it is not estimated."""
    floor: float | None = None
    """The same quantity for real data, which no model is expected to beat, or by chance.

    The metric says which one it is.
    """
    n: int
    """The number of examples that the value is computed from."""
    network: str | None = None
    """The version of the feature network, such as `"digits-cnn-v1"`, or None without features."""
    estimator: str | None = None
    """The name of the estimator, such as `"mean"`."""
    split: str = "test"
    """The part of the data that the model is compared with."""
    higher_is_better: bool | None = None
    """True if higher values are better, False if lower ones are, None if neither holds."""
    basis: str | None = None
    """The meaning of a likelihood, such as `"probability of bits"`.

    Values of another basis or estimator are not comparable. Some meanings do not rank models, such
    as a density without an upper limit. Then `higher_is_better` is None.
    """

    @classmethod
    def from_examples(cls, quantity: str, values: Tensor, **fields: Any) -> Self:
        r"""Return the mean of one value per example, with its standard error.

        The standard error is \( s / \sqrt n \), with the standard deviation \( s \) of the values.

        Arguments:
            quantity: the name of the mean.
            values: one value per example, `(n,)`.
            **fields: other fields, such as `higher_is_better`.

        Example:
            >>> Measurement.from_examples("error", torch.tensor([1.0, 2.0, 3.0])).standard_error
            0.5773502691896258
        """
        values, n = values.double(), len(values)
        error = (values.std() / n**0.5).item() if n > 1 else None
        return cls(
            quantity=quantity,
            value=values.mean().item(),
            standard_error=error,
            n=n,
            estimator="mean",
            **fields,
        )


@dataclass(frozen=True)
class Figure:
    """A figure of a report. It is drawn when the report is saved or shown.

    Example:
        >>> from functools import partial
        >>> from genzoo import plots
        >>> Figure("Noise", partial(plots.sheet, torch.rand(4, 1, 8, 8), side=16)).draw().size
        (20, 20)
    """

    caption: str
    """The title, in a few words."""
    draw: Callable[[], Any]
    """A function that returns a Pillow image or a matplotlib figure."""
    is_plot: bool = False
    """True if drawing needs matplotlib. Without it, the report leaves the figure out."""


class FeatureNetwork(Configurable):
    """A fixed map from examples to features, for metrics that compare samples with data.

    A network is the same for every build: its weights come from a file or a fixed seed. It may also
    learn from training examples, see `fit`.

    Arguments:
        shape: the shape of one example.
        dim: the number of features.

    Example:
        >>> class Brightness(FeatureNetwork):
        ...     version = "brightness-v1"
        ...
        ...     def __init__(self, shape):
        ...         super().__init__(shape, dim=1)
        ...
        ...     def forward(self, x):
        ...         return x.flatten(1).mean(1, keepdim=True)
        >>> Brightness((1, 8, 8))(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 1])
    """

    kind_of_part: ClassVar[str] = "networks"
    version: str
    """The name in results. It changes whenever the features change, such as with a setting."""
    training_rows: int = 0
    """The largest number of training examples that `fit` needs; 0 if there is nothing to learn."""

    def __init__(self, shape: Shape, dim: int) -> None:
        super().__init__()
        self.shape, self.dim = tuple(shape), dim

    def fit(self, x: Tensor) -> str:  # noqa: ARG002
        """Learn from training examples; by default, do nothing.

        An evaluation calls this once if `training_rows` is positive. Afterwards, `training_rows` is
        0, and the version depends on what was learned. The result depends only on the settings and
        the examples, and torch's random state does not change.

        Arguments:
            x: training examples, `(n, *shape)`, with n at most `training_rows`. Their choice does
                not depend on the seed of the evaluation.

        Returns:
            A sentence for the report, such as the time that it took, or an empty text.
        """
        return ""

    def forward(self, x: Tensor) -> Tensor:
        """Compute features, float32 `(batch, *shape)` -> `(batch, dim)`; images are in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(x)")


class Evidence(Protocol):
    """The material of an evaluation: a model, rows of data, samples, and their features.

    The class `genzoo.metrics.Evidence` implements this protocol.
    """

    @property
    def model(self) -> Any:
        """The model, in eval mode."""
        ...

    @property
    def n(self) -> int:
        """The number of held-out rows, and of samples."""
        ...

    @property
    def seed(self) -> int:
        """The seed of the evaluation. Torch's generators are seeded with it before each metric."""
        ...

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures of the report by name, such as `"spectrum"`. A metric may add its own."""
        ...

    @property
    def samples(self) -> Any:
        """The samples, `(n, *shape)`, on the CPU; a mapping for several generated columns.

        They are generated once. A conditional model is given the conditions of the held-out rows.
        """
        ...

    def batches(self, split: Literal["test", "train"] = "test") -> Iterator[Any]:
        """Yield the rows of a split in batches, as `loss` receives them, on the model's device.

        Held-out batches also have the columns that the metric reads. `"train"` yields as many
        training rows as held-out rows, or all if there are fewer.
        """
        ...

    def labels(self, column: str, split: Literal["test", "train"] = "test") -> Tensor | None:
        """Return the integer labels of the rows of `batches`, or None if there are none."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels `y` of the data; empty if they have none."""
        ...

    def duplicates(self) -> int:
        """Return the number of held-out rows that also occur in the whole training split."""
        ...

    def examples(self, source: Source) -> Iterator[Any]:
        """Yield samples, or the generated columns of a split, in batches on the model's device."""
        ...

    def conditioned(
        self, split: Literal["test", "train"] = "test"
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the examples of a split with their condition, as arguments of the model's methods.

        Without a condition, there are no arguments.
        """
        ...

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Yield held-out examples and as many samples under the same conditions, in batches."""
        ...

    def rows(self, source: Source, indices: Tensor) -> Tensor:
        """Return some rows of `examples`, on the CPU, in the order of their indices."""
        ...

    def network(self, network: Part | None = None) -> FeatureNetwork:
        """Return a feature network; by default, the one for the model's shape."""
        ...

    def features(self, network: Part | None, source: Source) -> Tensor:
        """Return features, float32 `(n, dim)`, on the CPU. They are computed once per network.

        `"train"` may have fewer rows than n.
        """
        ...


class Metric(Recorded):
    """A measurement of a trained model.

    A metric is built by name with its settings, then called with evidence.

    Example:
        >>> import genzoo
        >>> class Brightness(Metric):
        ...     def __call__(self, evidence):
        ...         means = evidence.samples.flatten(1).mean(1)
        ...         yield Measurement.from_examples("brightness", means)
        >>> evaluation = genzoo.evaluate("vae.digits", metrics=[Brightness()], n=100)
        >>> [row.quantity for row in evaluation]
        ['brightness']
    """

    kind_of_part: ClassVar[str] = "metrics"
    needs: ClassVar[tuple[str, ...]] = ()
    """The required capabilities, such as `("encode", "log_prob|elbo")`; `|` means either one."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Held-out columns to read in addition to the model's inputs. Batches are then mappings."""
    passes: ClassVar[Mapping[str, tuple[str, ...]] | None] = None
    """Quantity -> the sanity checks that it passes, see `genzoo.testing.SANITY`, or None.

    The conformance suite verifies that a quantity passes exactly the declared ones.
    """
    on_request: ClassVar[bool] = False
    """True if `genzoo.evaluate` measures it only if it is named, because it takes long."""

    def lacking(self, model: Any) -> list[str]:
        """Return the requirements that a model does not meet."""
        return [
            need
            for need in self.needs
            if not any(has_capability(model, name) for name in need.split("|"))
        ]

    def __call__(self, evidence: Evidence) -> Iterable[Measurement]:
        """Measure a model, without gradients.

        The method may be a generator. Random numbers come from torch's default generators, which
        `genzoo.evaluate` seeds before each metric.

        Arguments:
            evidence: the model, held-out rows, training rows, samples, and features.

        Returns:
            The measurements. Their field `metric` may be left out.
        """
        raise NotImplementedError
