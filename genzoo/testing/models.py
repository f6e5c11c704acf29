"""Checks of all models."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from genzoo.contract import Batch, Model, Player
from genzoo.errors import SettingError
from genzoo.testing.capabilities import check_data
from genzoo.testing.subject import (
    N,
    Subject,
    check_config,
    check_float64,
    check_seeds,
    check_state_dict,
    close,
    demand,
)
from genzoo.train.optimizers import make_optimizer

__all__ = ["ALWAYS", "outputs"]


def check_builds(subject: Subject) -> None:
    """Check that it is a `Model` of the requested shape, and that its declarations are valid."""
    model = subject()
    demand(isinstance(model, Model), f"{type(model).__name__} is not a genzoo.Model")
    demand(model.shape == subject.shape, f"its shape is {model.shape}, not {subject.shape}")
    for name in model.training_state:
        state = {**dict(model.named_modules()), **dict(model.named_buffers())}
        demand(
            name in state,
            f"training_state names {name!r}, which is not a submodule or a buffer",
        )
    unknown = set(model.given) - set(model.inputs)
    demand(
        not unknown,
        f"given names {', '.join(sorted(unknown))}, but the inputs are {model.inputs}",
    )


def check_example(subject: Subject) -> None:
    """Check that `example(n)` has the requested size, the declared inputs, and valid values."""
    model = subject()
    for n in (1, N):
        batch = model.example(n)
        demand(
            model.batch_size(batch) == n, f"batch_size(example({n})) is {model.batch_size(batch)}"
        )
        if len(model.inputs) == 1:
            demand(
                isinstance(batch, Tensor),
                f"with one input, a batch is a tensor, not a {type(batch).__name__}",
            )
            check_data(model, batch, n, "an example")
        else:
            names = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
            demand(
                names == sorted(model.inputs),
                f"a batch has the inputs {sorted(model.inputs)}, not {names}",
            )
            for name, column in dict(batch).items():  # type: ignore[arg-type]
                demand(len(column) == n, f"column {name!r} of example({n}) has {len(column)} rows")


def check_sample(subject: Subject) -> None:
    """Check the number, shape, dtype, and device of samples.

    They must carry no gradients, and sampling must not change the mode of the model.
    """
    model = subject()
    for n, training in ((3, True), (1, False)):
        model.train(training)
        x = model.sample(n, model.unpack(model.example(n))[1])
        check_data(model, x, n, f"sample({n})")
        demand(not x.requires_grad, "samples carry gradients: decorate sample with torch.no_grad()")
        demand(model.training == training, "sample changes the module's mode")
    if model.can_truncate:
        _check_truncation(model)


def _check_truncation(model: Model) -> None:
    """Check the argument `truncation` of `sample`; a prior may refuse it with a `SettingError`."""
    settings: dict[str, float] = {"truncation": 2.0}
    try:
        x = model.sample(3, model.unpack(model.example(3))[1], **settings)
    except SettingError:
        return
    check_data(model, x, 3, "sample(3, truncation=2.0)")


def check_losses(subject: Subject) -> None:
    """Check that each loss is a mapping of finite scalars and does not change its batch.

    The value of `"loss"` must be differentiable.
    """
    model = subject()
    for player in model.players():
        batch = model.example(N)
        before = copy.deepcopy(batch)
        _loss(player, batch)
        close(_columns(batch), _columns(before), f"the loss of {player.name!r} changes its batch")


def check_players(subject: Subject) -> None:
    """Check that players have unique names and together own every trainable parameter once.

    They must be the same in a second call. Players whose steps depend on the round may share
    parameters; the trainer checks that they never train in the same round.
    """
    model = subject()
    names = {p: name for name, p in model.named_parameters()}
    owned: dict[str, set[torch.nn.Parameter]] = {}
    constant: dict[torch.nn.Parameter, str] = {}
    for player in model.players():
        demand(player.name not in owned, f"two players are named {player.name!r}")
        owned[player.name] = set(player.parameters())
        for p in player.parameters():
            demand(p in names, f"player {player.name!r} owns a parameter that is not the model's")
            if not callable(player.steps_per_round):
                other = constant.setdefault(p, player.name)
                demand(
                    other == player.name,
                    f"players {other!r} and {player.name!r} both own {names[p]}",
                )
    everything = set().union(*owned.values())
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    idle = [name for name, p in trainable if p not in everything]
    demand(not idle, f"no player moves {', '.join(idle)}; freeze parameters that never change")
    again = {player.name: set(player.parameters()) for player in model.players()}
    demand(again == owned, "a second call of players() names other players or other parameters")


def check_gradients(subject: Subject) -> None:
    """Check that each player's loss gives its parameters finite gradients and moves only them."""
    model = subject()
    players = [(player, player.parameters()) for player in model.players()]
    named = dict(model.named_parameters())
    for player, parameters in players:
        owned = {name for name, p in named.items() if any(p is q for q in parameters)}
        before = {name: p.detach().clone() for name, p in named.items()}
        for p in (p for _, others in players for p in others):
            p.requires_grad = False
        for p in parameters:
            p.requires_grad = True
        optimizer = make_optimizer(
            {name: named[name] for name in sorted(owned)},
            player.optimizer,
            f"players.{player.name}",
        )
        # Several steps, because a layer that starts at zero blocks the first gradients.
        for _ in range(3):
            optimizer.zero_grad()
            _loss(player, model.example(2 * N)).backward()
            for name in sorted(owned):
                grad = named[name].grad
                demand(grad is not None, f"the loss of {player.name!r} gives {name} no gradient")
                demand(
                    grad is None or bool(grad.isfinite().all()),
                    f"the gradient of {name} is not finite",
                )
            optimizer.step()
            if player.after is not None:
                with torch.no_grad():
                    player.after()
        moved = {name for name, p in named.items() if not torch.equal(p, before[name])}
        demand(
            moved <= owned,
            f"player {player.name!r} moves {', '.join(sorted(moved - owned))}, which it does not "
            "own",
        )
        stuck = [
            name
            for name in sorted(owned - moved)
            if not _only_changes_reports(player, named[name], model.example(N))
        ]
        demand(not stuck, f"player {player.name!r} does not move {', '.join(stuck)}")


@torch.no_grad()
def _only_changes_reports(player: Player, parameter: Tensor, batch: Batch) -> bool:
    """Return True if a parameter changes logged values, but not the loss.

    An example is the additive constant of a Wasserstein critic.
    """
    before = _reported(player, batch)
    parameter += 1
    after = _reported(player, batch)
    parameter -= 1
    changed = {
        name
        for name in before
        if not torch.isclose(before[name], after[name], rtol=1e-3, atol=1e-3)
    }
    return bool(changed) and "loss" not in changed


def _reported(player: Player, batch: Batch) -> Mapping[str, Tensor]:
    torch.manual_seed(0)
    return player.loss(batch)


def check_deepcopy(subject: Subject) -> None:
    """Check that a copy gives the same results and shares no parameters, even in its players."""
    model = subject()
    twin = copy.deepcopy(model)
    shared = {id(p) for p in model.parameters()} & {
        id(p) for player in twin.players() for p in player.parameters()
    }
    demand(not shared, "the players of a copy move the original's parameters")
    close(subject.results(twin), subject.results(model), "a copy gives different results")


def check_batch_of_one(subject: Subject) -> None:
    """Check that losses work for a batch of one example."""
    model = subject()
    for player in model.players():
        _loss(player, model.example(1))


def check_compile(subject: Subject) -> None:
    """Check that each loss compiles as a whole graph and then gives the same values."""
    eager, compiled = subject(), subject()
    for player, twin in zip(eager.players(), compiled.players(), strict=True):
        torch.compiler.reset()
        batch = eager.example(N)
        torch.manual_seed(0)
        expected = dict(player.loss(batch))
        torch.manual_seed(0)
        actual = dict(torch.compile(twin.loss, fullgraph=True, backend="eager")(batch))
        close(actual, expected, f"the compiled loss of {player.name!r} differs")


def _columns(batch: Batch) -> dict[str, Tensor]:
    return {"x": batch} if isinstance(batch, Tensor) else dict(batch)


def _loss(player: Player, batch: Batch) -> Tensor:
    """Check what a player's loss returns, and return the value of `"loss"`."""
    report = player.loss(batch)
    name = f"the loss of {player.name!r}"
    demand(
        isinstance(report, Mapping) and "loss" in report,
        f'{name} is not a mapping with "loss": {report!r}',
    )
    for key, value in report.items():
        demand(
            isinstance(value, Tensor) and value.dim() == 0,
            f"{name} reports {key!r} = {value!r}, which is not a scalar tensor",
        )
        demand(bool(value.isfinite()), f"{name} reports {key!r} = {value.item()}")
    demand(report["loss"].requires_grad, f"{name} depends on no parameter")
    return report["loss"]


def outputs(model: Model) -> dict[str, Tensor]:
    """Return samples, and the values of every loss on a random batch."""
    batch = model.example(N)
    values = {f"sample({N})": model.sample(N, model.unpack(batch)[1])}
    for player in model.players():
        for key, value in player.loss(batch).items():
            values[f"{key!r} of {player.name!r}"] = value
    return values


ALWAYS = (
    check_builds,
    check_example,
    check_sample,
    check_losses,
    check_players,
    check_gradients,
    check_seeds,
    check_config,
    check_state_dict,
    check_deepcopy,
    check_float64,
    check_batch_of_one,
    check_compile,
)
"""The checks of every model."""
