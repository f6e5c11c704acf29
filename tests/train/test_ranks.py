"""Training with two processes equals training with one: the same parameters after 20 float64 steps.

This also holds if a run is killed and resumed, also with another number of processes.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import genzoo
from genzoo import distributed
from genzoo.models.wae import WAEMMD
from genzoo.runs.checkpoint import Checkpoints

# the tests share the runs of `folder`
pytestmark = pytest.mark.xdist_group("ranks")
SMALL = {"name": "mlp", "hidden": (16, 16)}
DATA = {
    "vae": {"name": "digits", "dequantize": True},
    "wae-mmd": {"name": "digits"},
    "wgan-gp": {"name": "digits"},
    "wae-gan": {"name": "digits"},
    "labels": {"name": "digits"},
    "shards": {"name": "shards", "size": 8, "channels": 1, "test_fraction": 0.0},
}
MODELS = {
    "vae": {"name": "vae", "latent_dim": 3, "sampler": {"name": "mog", "components": 3}},
    "wae-mmd": {"name": "wae-mmd", "latent_dim": 3, "random_encoder": True},
    "wgan-gp": {
        "name": "wgan-gp",
        "latent_dim": 3,
        "generator": SMALL,
        "critic": {**SMALL, "norm": "layer"},
        "critic_steps": 2,
    },
    "wae-gan": {
        "name": "wae-gan",
        "latent_dim": 3,
        "encoder": SMALL,
        "decoder": SMALL,
        "critic": SMALL,
        "pretrain": 7,
        # three strata, which two ranks share unequally
        "prior": {"name": "mog", "components": 3, "learn": True},
    },
    "labels": {"name": "wae-mmd", "latent_dim": 3, "encoder": SMALL, "classes": 10},
    "shards": {"name": "vae", "latent_dim": 3, "encoder": SMALL, "decoder": SMALL},
}
FLAGS = {
    "vae": {"microbatches": 2, "monitor": "loss", "evaluate_every": 4},
    "wae-mmd": {},
    "wgan-gp": {"microbatches": 4},
    "wae-gan": {"microbatches": 2},
    "labels": {},
    "shards": {},
}
SETTINGS = {
    "steps": 20,
    "batch_size": 32,
    "precision": "64-true",
    "checkpoint_every": 5,
    "log_every": 10,
    "clip_grad_norm": 1.0,
}


def fit(model: str, out: Path, **flags) -> None:
    data = DATA[model]
    if model == "shards":
        data = {**data, "path": out.parent / "shards"}
    genzoo.fit(MODELS[model], data, out, **{**SETTINGS, **FLAGS[model], **flags})


def write_shards(folder: Path) -> None:
    """Write 40 gray images of noise to two tar shards."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for row in range(20 * shard, 20 * shard + 20):
                png = io.BytesIO()
                Image.fromarray(pixels[row]).save(png, format="png")
                member = tarfile.TarInfo(f"{row:04d}.png")
                member.size = png.tell()
                png.seek(0)
                tar.addfile(member, png)


def first_life(folder: Path) -> None:
    """Train all models, check `gather`, then start a run in which one of the ranks is killed."""
    for model in MODELS:
        fit(model, folder / f"two-{model}")
    gather()
    calls, real = 0, WAEMMD.loss

    def deadly(self, batch):
        nonlocal calls
        calls += 1
        if calls == 13 and torch.distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, batch)

    WAEMMD.loss = deadly
    fit("wae-mmd", folder / "killed")


def gather() -> None:
    """Check the gradient of a global variance, which has a closed form, and the global noise."""
    rank = torch.distributed.get_rank()
    every = torch.arange(6.0).view(6, 1)
    x = every[3 * rank : 3 * rank + 3].clone().requires_grad_()
    with distributed.emulate_rank(rank, 2):
        gathered = distributed.gather(x)
        assert torch.equal(gathered.detach(), every)
        gathered.var(unbiased=False).backward()
        torch.manual_seed(0)
        shard = distributed.noise(3, 1, like=x)
    torch.manual_seed(0)
    assert torch.equal(shard, torch.randn(6, 1)[3 * rank : 3 * rank + 3])
    # the trainer's mean over ranks divides by 2
    torch.testing.assert_close(x.grad / 2, 2 / 6 * (x.detach() - 2.5))


def launch(python: str, life: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [python, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d",
         "--rdzv-endpoint", "localhost:0", "-m", "tests.train.test_ranks", life, str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, python):
    path = tmp_path_factory.mktemp("distributed")
    write_shards(path / "shards")
    done = launch(python, "first", path)
    assert "Signal 9 (SIGKILL)" in done.stderr, done.stderr[-3000:]
    assert (path / "two-wae-mmd" / "model.safetensors").exists(), done.stderr[-3000:]
    return path


def difference(left: Path, right: Path, file: str = "model.safetensors") -> float:
    a, b = load_file(left / file), load_file(right / file)
    assert a.keys() == b.keys()
    return max(
        (a[k].double() - b[k].double()).abs().max().item() for k in a if a[k].is_floating_point()
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_ranks_equal_one(folder, model):
    fit(model, folder / f"one-{model}")
    folders = folder / f"one-{model}", folder / f"two-{model}"
    assert difference(*folders) < 1e-10
    if "monitor" in FLAGS[model]:
        assert difference(*folders, "best.safetensors") < 1e-10


@pytest.mark.slow
def test_a_killed_run_of_two_ranks_resumes_on_one_and_on_two(folder, python):
    assert [p.name for p in Checkpoints(folder / "killed" / "checkpoints").paths()] == [
        "step-000005.ckpt",
        "step-000010.ckpt",
    ]
    shutil.copytree(folder / "killed", folder / "on-one")
    fit("wae-mmd", folder / "on-one", resume=True)
    done = launch(python, "second", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert difference(folder / "killed", folder / "two-wae-mmd") == 0
    assert difference(folder / "on-one", folder / "two-wae-mmd") < 1e-10


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = Path(sys.argv[2])
    if sys.argv[1] == "first":
        first_life(path)
    else:
        fit("wae-mmd", path / "killed", resume=True)
