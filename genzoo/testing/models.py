"""What every model must do, one function a promise; each gets a `Subject` and raises an error that says what is broken."""

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


def check_builds(subject: Subject) -> None:
    """It is a `Model`, of the shape it was asked for, and what it declares exists."""
    model = subject()
    demand(isinstance(model, Model), f"{type(model).__name__} is not a genzoo.Model")
    demand(model.shape == subject.shape, f"its shape is {model.shape}, not {subject.shape}")
    for name in model.training_state:
        state = {**dict(model.named_modules()), **dict(model.named_buffers())}
        demand(
            name in state,
            f"training_state names {name!r}, which is neither a submodule nor a buffer",
        )
    unknown = set(model.given) - set(model.inputs)
    demand(
        not unknown,
        f"given names {', '.join(sorted(unknown))}, which is not among the inputs {model.inputs}",
    )


def check_example(subject: Subject) -> None:
    """Its made-up batches have the asked size, the declared inputs, and values that are fit for a model."""
    model = subject()
    for n in (1, N):
        batch = model.example(n)
        demand(
            model.batch_size(batch) == n, f"batch_size(example({n})) is {model.batch_size(batch)}"
        )
        if len(model.inputs) == 1:
            demand(
                isinstance(batch, Tensor),
                f"one input makes a batch a tensor, not a {type(batch).__name__}",
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
    """Samples have the asked number, the model's shape, dtype and device, no gradient, and leave the mode alone."""
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
    """Each player's loss is a mapping of finite scalars, with a differentiable one under `"loss"`, and leaves its batch alone."""
    model = subject()
    for player in model.players():
        batch = model.example(N)
        before = copy.deepcopy(batch)
        _loss(player, batch)
        close(_columns(batch), _columns(before), f"the loss of {player.name!r} changes its batch")


def check_players(subject: Subject) -> None:
    """Players have names of their own, move all that can move, share no parameter, and are the same when asked again.

    Players whose steps depend on the round may share some: whether they ever play at once is for the trainer to see.
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
    idle = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and p not in set().union(*owned.values())
    ]
    demand(not idle, f"no player moves {', '.join(idle)}; freeze what shall not move")
    again = {player.name: set(player.parameters()) for player in model.players()}
    demand(again == owned, "a second call of players() names other players or other parameters")


def check_gradients(subject: Subject) -> None:
    """A player's loss gives every parameter it owns a finite gradient, and its steps move these and no others."""
    model = subject()
    players = [(player, player.parameters()) for player in model.players()]
    named = dict(model.named_parameters())
    for player, parameters in players:
        owned = {name for name, p in named.items() if any(p is q for q in parameters)}
        before = {name: p.detach().clone() for name, p in named.items()}
        for p in (p for _, others in players for p in others):
            p.requires_grad_(False)
        for p in parameters:
            p.requires_grad_(True)
        optimizer = make_optimizer(
            {name: named[name] for name in sorted(owned)},
            player.optimizer,
            f"players.{player.name}",
        )
        for _ in range(3):  # a layer that starts at zero hides what is below it from the first step
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
            f"player {player.name!r} moves {', '.join(sorted(moved - owned))}, which it does not own",
        )
        stuck = [
            name
            for name in sorted(owned - moved)
            if not _shifts_reports_alone(player, named[name], model.example(N))
        ]
        demand(not stuck, f"player {player.name!r} does not move {', '.join(stuck)}")


@torch.no_grad()
def _shifts_reports_alone(player: Player, parameter: Tensor, batch: Batch) -> bool:
    """Whether a loss does not depend on a parameter that its reports depend on, as on the constant of a Wasserstein critic."""
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
    """A copy gives the same results and shares nothing; its players are its own."""
    model = subject()
    twin = copy.deepcopy(model)
    shared = {id(p) for p in model.parameters()} & {
        id(p) for player in twin.players() for p in player.parameters()
    }
    demand(not shared, "the players of a copy move the original's parameters")
    close(subject.results(twin), subject.results(model), "a copy gives other results")


def check_batch_of_one(subject: Subject) -> None:
    """A loss exists for one example alone."""
    model = subject()
    for player in model.players():
        _loss(player, model.example(1))


def check_compile(subject: Subject) -> None:
    """Each player's loss compiles whole, without a graph break, and equals the eager one."""
    eager, compiled = subject(), subject()
    for player, twin in zip(eager.players(), compiled.players(), strict=True):
        torch.compiler.reset()
        batch = eager.example(N)
        torch.manual_seed(0)
        expected = dict(player.loss(batch))
        torch.manual_seed(0)
        got = dict(torch.compile(twin.loss, fullgraph=True, backend="eager")(batch))
        close(got, expected, f"the compiled loss of {player.name!r} differs")


def _columns(batch: Batch) -> dict[str, Tensor]:
    return {"x": batch} if isinstance(batch, Tensor) else dict(batch)


def _loss(player: Player, batch: Batch) -> Tensor:
    """A player's loss, after a look at what it reports."""
    report = player.loss(batch)
    place = f"the loss of {player.name!r}"
    demand(
        isinstance(report, Mapping) and "loss" in report,
        f'{place} is no mapping with "loss": {report!r}',
    )
    for key, value in report.items():
        demand(
            isinstance(value, Tensor) and value.dim() == 0,
            f"{place} reports {key!r} = {value!r}, which is no scalar tensor",
        )
        demand(bool(value.isfinite()), f"{place} reports {key!r} = {value.item()}")
    demand(report["loss"].requires_grad, f"{place} depends on no parameter")
    return report["loss"]


def outputs(model: Model) -> dict[str, Tensor]:
    """Every loss on a made-up batch, with all that it reports, and samples."""
    batch = model.example(N)
    found = {f"sample({N})": model.sample(N, model.unpack(batch)[1])}
    for player in model.players():
        found |= {f"{key!r} of {player.name!r}": value for key, value in player.loss(batch).items()}
    return found


ALWAYS = (
    check_builds, check_example, check_sample, check_losses, check_players, check_gradients, check_seeds, check_config,
    check_state_dict, check_deepcopy, check_float64, check_batch_of_one, check_compile,
)  # fmt: skip
