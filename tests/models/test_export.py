"""`torch.export` of every capability with a dynamic batch: exported with 4 examples, run with 8."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import genzoo
from genzoo.contract import has_capability
from genzoo.registry.lookup import registries

TINY = (1, 4, 4)
NARROW = {"name": "mlp", "hidden": (8,)}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "vae": [
        {"encoder": NARROW, "decoder": NARROW},
        {
            "encoder": {"name": "conv", "channels": (4,)},
            "decoder": {"name": "conv", "channels": (4,)},
            "prior": "mog",
        },
        {
            "likelihood": "bernoulli",
            "divergence": {"estimator": "monte-carlo"},
            "encoder": NARROW,
            "decoder": NARROW,
        },
        {"classes": 3, "encoder": NARROW, "decoder": NARROW},
    ],
    "wae-mmd": [{"random_encoder": True, "encoder": NARROW, "decoder": NARROW}],
    "wae-gan": [{"encoder": NARROW, "decoder": NARROW}],
    "swae": [{"encoder": NARROW, "decoder": NARROW}],
    "gan": [
        {"generator": NARROW, "critic": NARROW},
        {"classes": 3, "generator": NARROW, "critic": NARROW},
    ],
    "wgan": [{"generator": NARROW, "critic": NARROW}],
    "wgan-gp": [{"generator": NARROW, "critic": NARROW}],
    "dcgan": [{"channels": (4,), "shape": (1, 8, 8)}],
    "lsgan": [{"channels": (4,), "shape": (1, 8, 8)}],
    "nade": [{"hidden": 8, "shape": TINY}, {"hidden": 8, "classes": 3, "shape": TINY}],
    "rnade": [{"hidden": 8, "components": 2, "shape": TINY}],
    "eonade": [{"hidden": (8, 8), "orderings": 2, "shape": (1, 2, 2)}],
    "pixel-rnn": [
        {
            "layer": layer,
            "hidden": 4,
            "depth": 1,
            "levels": levels,
            "classes": classes,
            "skip": bool(classes),
            "shape": TINY,
        }
        for layer in ("diagonal-bilstm", "row-lstm", "conv")
        for levels, classes in ((2, 0), (4, 3))
    ],
    "independent": [{"shape": TINY}],
    "markov": [{"shape": TINY}],
    "char-wgan-gp": [
        {"generator": {"width": 8, "depth": 1}, "critic": {"width": 8, "depth": 1}, "shape": (4, 5)}
    ],
    "cyclegan": [{"translator": {"width": 4, "blocks": 1}, "shape": (1, 16, 16)}],
    "pix2pix": [{"translator": {"width": 4}, "shape": (1, 16, 16)}],
    "discogan": [{"translator": {"width": 4}, "shape": (1, 16, 16)}],
}
"""Small ones of each model, of ours and of our plugins; others are built by default."""

CAPABILITIES: dict[str, Callable[..., Tensor]] = {
    "score": lambda model, *x: model.score(*x),
    "log_prob": lambda model, *x: model.log_prob(*x),
    "encode": lambda model, *x: model.encode(*x),
    "decode": lambda model, *z: model.decode(*z),
    "reconstruct": lambda model, *x: model.reconstruct(*x),
    "elbo": lambda model, *x: model.elbo(*x),
    "posterior": lambda model, *x: model.posterior(*x).mean,
    "translate": lambda model, x: model.translate(x),
}
"""`log_prob_bound` and `score_samples` loop over chunks; export `elbo` and `log_prob` instead."""


class Deployed(nn.Module):
    def __init__(self, model: nn.Module, capability: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.capability = model, capability

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.capability(self.model, *inputs)


def inputs(model: genzoo.Model, capability: str, n: int) -> tuple[Tensor, ...]:
    x, given = model.unpack(model.example(n))
    if capability == "decode":
        x = torch.randn(n, model.latent_dim)
    if capability == "translate":
        return (x if given is None else given,)
    x = next(iter(x.values())) if isinstance(x, dict) else x
    return (x,) if given is None else (x, given)


def cases() -> list[Any]:
    parameters = []
    for name, model in registries["models"].get_all().items():
        if registries["models"].registration(name).origin == "here":  # registered by another test
            continue
        for i, settings in enumerate(VARIANTS.get(name, [{}])):
            shape = settings.get("shape", model.example_shapes[0])
            built = genzoo.build({"name": name, **settings, "shape": shape})
            parameters += [
                pytest.param(
                    name, {**settings, "shape": shape}, capability, id=f"{name}-{i}-{capability}"
                )
                for capability in CAPABILITIES
                if has_capability(built, capability)
            ]
    return parameters


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings", "capability"), cases())
def test_an_exported_model_accepts_another_batch_size(name, settings, capability):
    torch.manual_seed(0)
    model = genzoo.build({"name": name, **settings}).eval()
    four, eight = (inputs(model, capability, n) for n in (4, 8))
    batch = torch.export.Dim("batch")
    # one argument, a tuple, for `*inputs`
    shapes = (tuple({0: batch} for _ in four),)
    program = torch.export.export(
        Deployed(model, CAPABILITIES[capability]), four, dynamic_shapes=shapes
    )
    # A program with operators of genzoo would not run without it.
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert [name for name in operators if "genzoo" in name] == []
    torch.manual_seed(1)
    got = program.module()(*eight)
    torch.manual_seed(1)
    expected = CAPABILITIES[capability](model, *eight)
    assert expected.shape[0] == 8
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", ["vae", "wae-mmd", "gan", "wgan-gp"])
def test_sample_of_latent_models_is_exported_with_a_fixed_number(name):
    model = genzoo.build({"name": name, **VARIANTS[name][0], "shape": TINY}).eval()
    program = torch.export.export(Deployed(model, lambda model: model.sample(3)), ())
    torch.manual_seed(1)
    got = program.module()()
    torch.manual_seed(1)
    torch.testing.assert_close(got, model.sample(3))
