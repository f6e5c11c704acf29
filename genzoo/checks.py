"""What every model must do, one function a promise; each gets a `Subject` and raises an error that says what is broken.

`genzoo.testing` runs them: `ALWAYS` on every model, `CAPABILITIES` on those that have the method.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.build import build, settings_of
from genzoo.contract import Batch, Model, Player, Shape, is_image
from genzoo.errors import SettingError
from genzoo.train.players import make_optimizer

_N = 4
"""Examples in a batch, unless a check says otherwise."""


@dataclass(frozen=True)
class Subject:
    """A model under test: each call makes it anew, and the same unless the seed differs."""

    maker: Callable[[Shape], Model]
    shape: Shape

    def __call__(self, seed: int = 0) -> Model:
        torch.manual_seed(seed)
        return self.maker(self.shape)


def check_builds(subject: Subject) -> None:
    """It is a `Model`, of the shape it was asked for, and what it declares exists."""
    model = subject()
    _demand(isinstance(model, Model), f"{type(model).__name__} is not a genzoo.Model")
    _demand(model.shape == subject.shape, f"its shape is {model.shape}, not {subject.shape}")
    for name in model.training_state:
        state = {**dict(model.named_modules()), **dict(model.named_buffers())}
        _demand(name in state, f"training_state names {name!r}, which is neither a submodule nor a buffer")
    unknown = set(model.given) - set(model.inputs)
    _demand(not unknown, f"given names {', '.join(sorted(unknown))}, which is not among the inputs {model.inputs}")


def check_example(subject: Subject) -> None:
    """Its made-up batches have the asked size, the declared inputs, and values that are fit for a model."""
    model = subject()
    for n in (1, _N):
        batch = model.example(n)
        _demand(model.batch_size(batch) == n, f"batch_size(example({n})) is {model.batch_size(batch)}")
        if len(model.inputs) == 1:
            _demand(isinstance(batch, Tensor), f"one input makes a batch a tensor, not a {type(batch).__name__}")
            _check_data(model, batch, n, "an example")
        else:
            names = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
            _demand(names == sorted(model.inputs), f"a batch has the inputs {sorted(model.inputs)}, not {names}")
            for name, column in dict(batch).items():  # type: ignore[arg-type]
                _demand(len(column) == n, f"column {name!r} of example({n}) has {len(column)} rows")


def check_sample(subject: Subject) -> None:
    """Samples have the asked number, the model's shape, dtype and device, no gradient, and leave the mode alone."""
    model = subject()
    for n, training in ((3, True), (1, False)):
        model.train(training)
        x = model.sample(n, model.unpack(model.example(n))[1])
        _check_data(model, x, n, f"sample({n})")
        _demand(not x.requires_grad, "samples carry gradients: decorate sample with torch.no_grad()")
        _demand(model.training == training, "sample changes the module's mode")


def check_losses(subject: Subject) -> None:
    """Each player's loss is a mapping of finite scalars, with a differentiable one under `"loss"`, and leaves its batch alone."""
    model = subject()
    for player in model.players():
        batch = model.example(_N)
        before = copy.deepcopy(batch)
        _loss(player, batch)
        _close(_columns(batch), _columns(before), f"the loss of {player.name!r} changes its batch")


def check_players(subject: Subject) -> None:
    """Players have names of their own, move all that can move, share no parameter, and are the same when asked again.

    Players whose steps depend on the round may share some: whether they ever play at once is for the trainer to see.
    """
    model = subject()
    names = {p: name for name, p in model.named_parameters()}
    owned: dict[str, set[torch.nn.Parameter]] = {}
    constant: dict[torch.nn.Parameter, str] = {}
    for player in model.players():
        _demand(player.name not in owned, f"two players are named {player.name!r}")
        owned[player.name] = set(player.parameters())
        for p in player.parameters():
            _demand(p in names, f"player {player.name!r} owns a parameter that is not the model's")
            if not callable(player.steps):
                other = constant.setdefault(p, player.name)
                _demand(other == player.name, f"players {other!r} and {player.name!r} both own {names[p]}")
    idle = [name for name, p in model.named_parameters() if p.requires_grad and p not in set().union(*owned.values())]
    _demand(not idle, f"no player moves {', '.join(idle)}; freeze what shall not move")
    again = {player.name: set(player.parameters()) for player in model.players()}
    _demand(again == owned, "a second call of players() names other players or other parameters")


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
        optimizer = make_optimizer(parameters, player.optimizer, f"players.{player.name}")
        for _ in range(3):  # a layer that starts at zero hides what is below it from the first step
            optimizer.zero_grad()
            _loss(player, model.example(2 * _N)).backward()
            for name in sorted(owned):
                grad = named[name].grad
                _demand(grad is not None, f"the loss of {player.name!r} gives {name} no gradient")
                _demand(grad is None or bool(grad.isfinite().all()), f"the gradient of {name} is not finite")
            optimizer.step()
            if player.after is not None:
                with torch.no_grad():
                    player.after()
        moved = {name for name, p in named.items() if not torch.equal(p, before[name])}
        _demand(moved <= owned, f"player {player.name!r} moves {', '.join(sorted(moved - owned))}, which it does not own")
        stuck = [name for name in sorted(owned - moved) if not _shifts_reports_alone(player, named[name], model.example(_N))]
        _demand(not stuck, f"player {player.name!r} does not move {', '.join(stuck)}")


@torch.no_grad()
def _shifts_reports_alone(player: Player, parameter: Tensor, batch: Batch) -> bool:
    """Whether a loss does not depend on a parameter that its reports depend on, as on the constant of a Wasserstein critic."""
    before = _reported(player, batch)
    parameter += 1
    after = _reported(player, batch)
    parameter -= 1
    changed = {name for name in before if not torch.isclose(before[name], after[name], rtol=1e-3, atol=1e-3)}
    return bool(changed) and "loss" not in changed


def _reported(player: Player, batch: Batch) -> Mapping[str, Tensor]:
    torch.manual_seed(0)
    return player.loss(batch)


def check_seeds(subject: Subject) -> None:
    """The same seed gives the same weights, losses and samples."""
    _close(dict(subject().state_dict()), dict(subject().state_dict()), "equal seeds give other weights")
    _close(_outputs(subject()), _outputs(subject()), "equal seeds give other results")


def check_config(subject: Subject) -> None:
    """Its configuration, as plain data, builds an equal architecture; that of an unregistered class, its settings."""
    model = subject()
    try:
        table = json.dumps(model.config)
    except SettingError:
        again = type(model)(**settings_of(model))
        _demand(settings_of(again) == settings_of(model), "the rebuilt model has other settings")
    else:
        again = build(json.loads(table))
        _demand(json.dumps(again.config) == table, f"the rebuilt model's config is {again.config}, the model's is {table}")
    _demand(repr(again) == repr(model), f"the rebuilt model is {again!r}, not {model!r}")
    sizes = [{name: tensor.shape for name, tensor in m.state_dict().items()} for m in (model, again)]
    _demand(sizes[0] == sizes[1], "the rebuilt model has other parameters or buffers")


def check_state_dict(subject: Subject) -> None:
    """All that training changes is in the state dict: a model that loads it gives the same results."""
    model, other = subject(), subject(seed=1)
    _outputs(model)  # losses may keep running statistics
    other.load_state_dict(model.state_dict())
    _close(_outputs(other.eval()), _outputs(model.eval()), "with the same state dict, another model gives other results")


def check_deepcopy(subject: Subject) -> None:
    """A copy gives the same results and shares nothing; its players are its own."""
    model = subject()
    twin = copy.deepcopy(model)
    shared = {id(p) for p in model.parameters()} & {id(p) for player in twin.players() for p in player.parameters()}
    _demand(not shared, "the players of a copy move the original's parameters")
    _close(_outputs(twin), _outputs(model), "a copy gives other results")


def check_float64(subject: Subject) -> None:
    """In double precision, losses and samples are so too."""
    for name, value in _outputs(subject().double()).items():
        _demand(value.dtype == torch.float64 or not value.is_floating_point(), f"{name} of a float64 model is {value.dtype}")


def check_device(subject: Subject) -> None:
    """On an accelerator, losses and samples are there too."""
    device = torch.accelerator.current_accelerator()
    for name, value in _outputs(subject().to(device)).items():
        _demand(value.device.type == getattr(device, "type", None), f"{name} of a model on {device} is on {value.device}")


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
        batch = eager.example(_N)
        torch.manual_seed(0)
        expected = dict(player.loss(batch))
        torch.manual_seed(0)
        got = dict(torch.compile(twin.loss, fullgraph=True, backend="eager")(batch))
        _close(got, expected, f"the compiled loss of {player.name!r} differs")


def check_log_prob(subject: Subject) -> None:
    """`log_prob(x)` is one number an example."""
    _check_log_probs(subject().eval(), "log_prob")


def check_elbo(subject: Subject) -> None:
    """`elbo(x)` is one number an example."""
    _check_log_probs(subject().eval(), "elbo")


def check_log_prob_bound(subject: Subject) -> None:
    """`log_prob_bound(x, samples)` is one number an example."""
    _check_log_probs(subject().eval(), "log_prob_bound", samples=3)


def check_conditionals(subject: Subject) -> None:
    """`conditionals(x)` has a law for each number of an example."""
    model: Any = subject().eval()
    for n in (1, _N):
        shape, expected = model.conditionals(*_arguments(model, n)).batch_shape, (n, *model.shape)
        _demand(shape == expected, f"conditionals(x) has batch shape {tuple(shape)}, not {expected}")


def check_complete(subject: Subject) -> None:
    """`complete(x, mask)` is data like x, equal to it where the mask is True."""
    model: Any = subject().eval()
    for n in (1, _N):
        x, *given = _arguments(model, n)
        mask = torch.rand(model.shape, device=x.device) < 0.5
        found = model.complete(x, mask, *given)
        _check_data(model, found, n, "complete(x, mask)")
        _demand(torch.equal(found[:, mask], x[:, mask]), "complete(x, mask) changes what is kept")
        _demand(not found.requires_grad, "completions carry gradients")


def check_encode(subject: Subject) -> None:
    """`encode(x)` is a finite tensor with one row an example."""
    model: Any = subject().eval()
    for n in (1, _N):
        z = model.encode(model.example(n))
        _demand(isinstance(z, Tensor), f"encode(x) is a {type(z).__name__}, not a tensor; a law belongs to posterior(x)")
        _demand(len(z) == n, f"encode(x) has shape {tuple(z.shape)} for {n} examples")
        _demand(bool(z.isfinite().all()), "encode(x) is not finite")


def check_posterior(subject: Subject) -> None:
    """`posterior(x)` is a law for each example, on what `encode` gives."""
    model: Any = subject().eval()
    for n in (1, _N):
        x = model.example(n)
        law, code = model.posterior(x), model.encode(x)
        z = law.sample()
        _demand(z.shape == code.shape, f"posterior(x) draws {tuple(z.shape)}, where encode(x) is {tuple(code.shape)}")
        _demand(law.log_prob(z).shape == (n,), f"posterior(x).log_prob(z) is {tuple(law.log_prob(z).shape)}, not {(n,)}")


def check_decode(subject: Subject) -> None:
    """`decode(z)` is data, for codes of the encoder or else of the prior."""
    model: Any = subject().eval()
    for n in (1, _N):
        z = model.encode(model.example(n)) if hasattr(model, "encode") else model.prior.sample(n)
        _check_data(model, model.decode(z), n, "decode(z)")


def check_reconstruct(subject: Subject) -> None:
    """`reconstruct(x)` is data like x."""
    model: Any = subject().eval()
    for n in (1, _N):
        _check_data(model, model.reconstruct(model.example(n)), n, "reconstruct(x)")


def _demand(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _close(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], message: str) -> None:
    """Equal up to rounding, whose order an accelerator may change; not a number equals itself."""
    torch.testing.assert_close(dict(got), dict(expected), equal_nan=True, msg=lambda detail: f"{message}. {detail}")


def _columns(batch: Batch) -> dict[str, Tensor]:
    return {"x": batch} if isinstance(batch, Tensor) else dict(batch)


def _loss(player: Player, batch: Batch) -> Tensor:
    """A player's loss, after a look at what it reports."""
    report = player.loss(batch)
    place = f"the loss of {player.name!r}"
    _demand(isinstance(report, Mapping) and "loss" in report, f'{place} is no mapping with "loss": {report!r}')
    for key, value in report.items():
        _demand(isinstance(value, Tensor) and value.dim() == 0, f"{place} reports {key!r} = {value!r}, which is no scalar tensor")
        _demand(bool(value.isfinite()), f"{place} reports {key!r} = {value.item()}")
    _demand(report["loss"].requires_grad, f"{place} depends on no parameter")
    return report["loss"]


def _outputs(model: Model) -> dict[str, Tensor]:
    """Every loss on a made-up batch, with all that it reports, and samples, from one seed."""
    torch.manual_seed(0)
    batch = model.example(_N)
    found = {f"sample({_N})": model.sample(_N, model.unpack(batch)[1])}
    for player in model.players():
        found |= {f"{key!r} of {player.name!r}": value for key, value in player.loss(batch).items()}
    for name, value in found.items():
        _demand(bool(value.isfinite().all()), f"{name} is not finite")
    return found


def _check_data(model: Model, x: Any, n: int, what: str) -> None:
    """Data as a model must take and give it."""
    _demand(isinstance(x, Tensor), f"{what} is a {type(x).__name__}, not a tensor")
    _demand(x.shape == (n, *model.shape), f"{what} has shape {tuple(x.shape)}, not {(n, *model.shape)}")
    like = model.like
    place, own = f"{x.dtype} on {x.device}", f"{like.dtype} on {like.device}"
    _demand(place == own, f"{what} is {place}, where the model is {own}")
    _demand(bool(x.isfinite().all()), f"{what} is not finite")
    if is_image(model.shape):
        low, high = x.min().item(), x.max().item()
        _demand(low >= 0 and high <= 1, f"{what} spans {low:g} to {high:g}; images are in [0, 1]")


def _arguments(model: Model, n: int) -> tuple[Any, ...]:
    """Made-up examples and, for a conditional model, what they are given."""
    x, given = model.unpack(model.example(n))
    return (x,) if given is None else (x, given)


def _check_log_probs(model: Model, name: str, **settings: int) -> None:
    for n in (1, _N):
        values = getattr(model, name)(*_arguments(model, n), **settings)
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        _demand(shape == (n,), f"{name}(x) is {shape} for {n} examples, not {(n,)}")
        _demand(not values.isnan().any(), f"{name}(x) is not a number")


ALWAYS = (
    check_builds, check_example, check_sample, check_losses, check_players, check_gradients, check_seeds, check_config,
    check_state_dict, check_deepcopy, check_float64, check_batch_of_one, check_compile,
)  # fmt: skip
CAPABILITIES = {
    "log_prob": check_log_prob,
    "elbo": check_elbo,
    "log_prob_bound": check_log_prob_bound,
    "conditionals": check_conditionals,
    "complete": check_complete,
    "encode": check_encode,
    "posterior": check_posterior,
    "decode": check_decode,
    "reconstruct": check_reconstruct,
}
