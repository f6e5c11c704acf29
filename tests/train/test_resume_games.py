"""Games that are stopped and resumed.

The weights and their average are bit-identical to those of a run without a stop.
"""

import pytest
import torch

import genzoo
from genzoo.runs.checkpoint import Checkpoints, read_checkpoint

NET = {"name": "mlp", "hidden": (16, 16), "activation": "relu"}
GAMES = {
    "wgan-gp": {
        "name": "wgan-gp",
        "latent_dim": 3,
        "generator": NET,
        "critic": {**NET, "norm": "layer"},
        "critic_steps": 3,
    },
    "dcgan": {"name": "dcgan", "latent_dim": 3, "channels": (4,)},
    "gan": {
        "name": "gan",
        "latent_dim": 3,
        "generator": NET,
        "critic": NET,
        "prior": {"name": "mog", "learn": True},
        "classes": 3,
    },
    "wae-gan": {
        "name": "wae-gan",
        "latent_dim": 3,
        "encoder": NET,
        "decoder": NET,
        "critic": NET,
        "pretrain": 6,
    },
}
SETTINGS = {
    "batch_size": 16,
    "checkpoint_every": 5,
    "log_every": 4,
    "ema": 0.9,
    "sample_every": 10_000,
}


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("name", GAMES)
def test_a_resumed_game_is_bit_identical(name, tmp_path):
    x = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    data = {"x": x, "y": torch.arange(50) % 3}
    uninterrupted = genzoo.fit(GAMES[name], data, tmp_path / "straight", steps=14, **SETTINGS)
    genzoo.fit(GAMES[name], data, tmp_path / "resumed", steps=7, **SETTINGS)
    # the result does not depend on the caller's seed
    torch.manual_seed(99)
    resumed = genzoo.fit(GAMES[name], data, tmp_path / "resumed", steps=14, resume=True, **SETTINGS)
    last = [
        read_checkpoint(Checkpoints(tmp_path / run / "checkpoints").paths()[-1], "cpu")
        for run in ("straight", "resumed")
    ]
    for part in ("model", "ema"):
        left, right = (state[part] for state in last)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert any(
        not torch.equal(last[0]["model"][key], last[0]["ema"][key]) for key in last[0]["ema"]
    )
    for left, right in zip(
        uninterrupted.model.state_dict().values(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(left, right)
    assert {name: state["count"] for name, state in last[0]["players"].items()} == {
        name: state["count"] for name, state in last[1]["players"].items()
    }
    timing = ("seconds", "images_per_second")
    lines = [
        [{k: v for k, v in line.items() if k not in timing} for line in run.history]
        for run in (uninterrupted, resumed)
    ]
    assert lines[0][-1] == lines[1][-1]
