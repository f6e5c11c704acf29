"""Labels as conditions: the one mechanism that all conditional models share.

A model with `classes = K` reads labels from 0 to K - 1 in the column `y`. The labels are appended
to what a network reads: one-hot coordinates to a vector, such as a latent code, and K constant maps
to an image. So encoders, decoders, and critics do not know of labels; they only have more inputs.
Autoregressive models add a label-dependent bias instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.func import functional_call

from genzoo.contract import Batch, Model, Shape, is_image
from genzoo.distributed import uniform
from genzoo.distributed.ranks import in_run
from genzoo.errors import DataError, SettingError

__all__ = ["Classes", "Conditional", "append_labels"]

Classes = Annotated[int, Ge(0)]
"""The number of labels that a model is conditioned on; 0 for an unconditional model."""


def append_labels(x: Tensor, y: Tensor, classes: int) -> Tensor:
    """Append labels to vectors as one-hot coordinates, or to images as constant maps.

    Arguments:
        x: vectors, `(batch, D)`, or images, `(batch, C, H, W)`.
        y: labels, `(batch,)`, from 0 to classes - 1.
        classes: the number of labels, K.

    Returns:
        `(batch, D + K)` or `(batch, C + K, H, W)`.

    Example:
        >>> append_labels(torch.zeros(2, 1), torch.tensor([2, 0]), classes=3)
        tensor([[0., 0., 0., 1.],
                [0., 1., 0., 0.]])
    """
    # A comparison instead of `one_hot`, which would read the labels and wait for the device.
    labels = (y[:, None] == torch.arange(classes, device=y.device)).to(x)
    maps = labels.view(*labels.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, maps], dim=1)


class Conditional(Model):
    """The base class of models that can be conditioned on labels.

    The constructor of a subclass calls `condition_on`. With `classes = 0`, nothing changes.

    Example:
        >>> import genzoo
        >>> model = genzoo.load("cvae.digits")
        >>> model.sample(2, given=torch.tensor([3, 7])).shape
        torch.Size([2, 1, 8, 8])
    """

    label_bias: nn.Parameter | None
    """The bias of each label, of autoregressive models."""

    def condition_on(self, classes: int) -> None:
        """Set the number of labels, and add the column `y` to the inputs if there are any."""
        self.classes = classes
        if classes:
            self.inputs, self.given = ("x", "y"), ("y",)  # type: ignore[misc]

    def with_label_maps(self, shape: Shape) -> Shape:
        """Return the shape of examples with their labels, for the network that reads both.

        Raises:
            SettingError: the examples are not vectors or images.
        """
        if not self.classes:
            return shape
        if len(shape) != 1 and not is_image(shape):
            raise SettingError(
                f"classes = {self.classes} needs vectors (D,) or images (C, H, W), and shape = "
                f"{shape}; leave classes out."
            )
        return (shape[0] + self.classes, *shape[1:])

    def with_labels(self, x: Tensor, given: Tensor | None) -> Tensor:
        """Append labels to examples or latent codes (see `append_labels`).

        An unconditional model returns them unchanged.

        Raises:
            DataError: as in `check_given`.
        """
        self.check_given(given, x.shape[0])
        return x if given is None else append_labels(x, given, self.classes)

    def at_labels(self, network: nn.Module, y: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return a network as a function of the examples alone, at fixed labels.

        Its gradient with respect to an example is without the coordinates of the label. As in a
        gradient penalty, calls do not change the buffers of the network.
        """
        if y is None:
            return network
        state = {
            **dict(network.named_parameters()),
            **{name: buffer.clone() for name, buffer in network.named_buffers()},
        }

        def function(x: Tensor) -> Tensor:
            return functional_call(network, state, (append_labels(x, y, self.classes),))

        return function

    def new_label_bias(self, width: int) -> nn.Parameter | None:
        """Return a bias for each label, `(classes, width)`, which starts at 0; None without labels.

        Zeros need no random draws, and the other weights break the symmetry.
        """
        return nn.Parameter(torch.zeros(self.classes, width)) if self.classes else None

    def biased(self, bias: Tensor, given: Tensor | None, n: int) -> Tensor:
        """Add the bias of the label of each of `n` examples: `(width,)` -> `(n, width)`.

        An unconditional model returns the bias unchanged.

        Raises:
            DataError: as in `check_given`.
        """
        self.check_given(given, n)
        if given is None:
            return bias
        return bias + self.label_bias[given]  # type: ignore[index]

    def labels_for(self, n: int, given: Any = None) -> Any:
        """Return checked labels for `n` samples, or uniform ones if `given` is None.

        An unconditional model returns None. Uniform labels depend on the seed, not on the ranks.

        Raises:
            DataError: as in `check_given`.
        """
        if given is None and self.classes:
            u = uniform(n, like=self.reference_tensor)
            # The largest u, times the number of classes, may round to it.
            return (u * self.classes).long().clamp(max=self.classes - 1)
        self.check_given(given, n)
        return given

    def check_given(self, given: Any, n: int) -> None:
        """Check labels for `n` examples.

        In a training step, their values are not checked, because that would wait for the device.
        `check_batch` and the trainer check them before.

        Raises:
            DataError: labels are missing, invalid, or not accepted.
        """
        name = type(self).__name__
        if not self.classes:
            if given is not None:
                raise DataError(
                    f"this {name} takes no labels, and given is a {type(given).__name__}; leave it "
                    f"out{self._way_to_labels()}."
                )
            return
        if problem := _label_problem(given, n):
            raise DataError(
                f"given is {problem}; this {name} needs labels of shape ({n},), 0 to "
                f"{self.classes - 1}, as y.long(){_way_to_tensor(given, n)}."
            )
        if torch.compiler.is_compiling() or in_run() or not n:
            return
        if not bool(((given >= 0) & (given < self.classes)).all()):
            raise DataError(
                f"labels range from {int(given.min())} to {int(given.max())}, but classes = "
                f"{self.classes} allows 0 to {self.classes - 1}."
            )

    def _way_to_labels(self) -> str:
        """Return advice for a model whose constructor takes `classes`."""
        takes_labels = "classes" in inspect.signature(type(self)).parameters
        return ", or build it with, for example, classes = 10" if takes_labels else ""

    def check_batch(self, batch: Batch) -> None:
        """Check the labels of a batch.

        Raises:
            DataError: labels are missing or invalid.
        """
        x, given = self.unpack(batch)
        self.check_given(given, len(x))

    def unpack(self, batch: Batch) -> tuple[Any, Any]:
        if self.classes and isinstance(batch, Tensor):
            raise DataError(
                f"a batch of this {type(self).__name__} has labels; pass a mapping, as in "
                "{'x': x, 'y': y}."
            )
        return super().unpack(batch)

    def example(self, n: int) -> Batch:
        return self.with_random_labels(super().example(n))

    def with_random_labels(self, x: Any) -> Batch:
        """Return random examples as a batch, with random labels if the model has any."""
        if not self.classes:
            return x
        return {"x": x, "y": torch.randint(self.classes, (len(x),), device=x.device)}


def _way_to_tensor(given: Any, n: int) -> str:
    """Return the code that makes a tensor of a number, a list, or an array of labels."""
    if isinstance(given, int):
        return f", or torch.full(({n},), {given}) for one label"
    sequences = (list, tuple, np.ndarray)
    return ", or torch.tensor(given) for a list or array" if isinstance(given, sequences) else ""


def _label_problem(y: Any, n: int) -> str | None:
    """Return a description of `y` if it is not a tensor of `n` integer labels."""
    if y is None:
        return "nothing"
    if not isinstance(y, Tensor):
        return repr(y)
    if y.dtype not in (torch.int32, torch.int64) or y.shape != (n,):
        return f"{y.dtype} of shape {tuple(y.shape)}"
    return None
