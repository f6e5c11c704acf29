"""The processes that train together: with a launcher, an incomplete launcher, and none."""

import os
import signal
import socket
import subprocess
import warnings

import pytest

from genzoo.errors import SettingError, TrainingError
from genzoo.train.processes import Processes, announced, peers

TORCHRUN = {
    "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "3", "LOCAL_RANK": "1",
    "MASTER_ADDR": "host", "MASTER_PORT": "29500",
}  # fmt: skip
JOB = {
    "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    "SLURM_JOB_ID": "1234567", "SLURM_JOB_NAME": "train",
    "SLURM_NNODES": "1", "SLURM_NODELIST": "node[3-4]",
}  # fmt: skip
STEP = {
    **JOB,
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
}
PREFIXES = ("SLURM_", "LT_", "OMPI_", "PMI_")


@pytest.fixture
def env(monkeypatch):
    for name in [name for name in os.environ if name in TORCHRUN or name.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    return lambda table: [monkeypatch.setenv(name, value) for name, value in table.items()]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, Processes()),
        ({"WORLD_SIZE": "1", "RANK": "0"}, Processes()),
        (TORCHRUN, Processes(2, 2, 3, 1, "host", 29500)),
        # torchrun within a job step
        ({**TORCHRUN, **STEP}, Processes(2, 2, 3, 1, "host", 29500)),
        (STEP, Processes(2, 1, 1, 1, "node3", 19567)),
        ({**STEP, "WORLD_SIZE": "2", "MASTER_PORT": "700"}, Processes(2, 1, 1, 1, "node3", 700)),
        # srun --pty bash in a larger job
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1"}, Processes()),
        ({**JOB, "SLURM_NTASKS": "1"}, Processes()),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, Processes()),
    ],
    ids=str.split("none one torchrun torchrun-in-slurm srun srun-own-port shell job mpi"),
)
def test_launchers_are_recognized(env, table, expected):
    env(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert announced() == expected


@pytest.mark.parametrize(
    "more", [{}, {"SLURM_NTASKS_PER_NODE": "2"}, {"SLURM_STEP_ID": str(0xFFFFFFFB)}]
)
def test_without_srun_a_process_trains_alone_with_a_warning(env, more):
    env({**JOB, **more})
    with pytest.warns(
        UserWarning,
        match="SLURM gave this job 2 tasks, but srun did not start this process.*put srun before",
    ):
        assert announced() == Processes()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"WORLD_SIZE": "2"},
            r"WORLD_SIZE = 2 means that several .* LOCAL_WORLD_SIZE, RANK, .*, MASTER_PORT are",
        ),
        ({"RANK": "1"}, r"RANK = 1 means that several .* WORLD_SIZE, .* unset RANK to train alone"),
        (
            {k: v for k, v in TORCHRUN.items() if k != "MASTER_PORT"},
            "WORLD_SIZE = 4 means .*, but MASTER_PORT is not set",
        ),
        ({**TORCHRUN, "RANK": "4"}, "RANK = 4, .*contradict each other; start with torchrun"),
        ({**TORCHRUN, "LOCAL_RANK": "2"}, "LOCAL_RANK = 2 contradict"),
        ({**TORCHRUN, "WORLD_SIZE": "5"}, "WORLD_SIZE = 5, .*contradict"),
        ({**TORCHRUN, "WORLD_SIZE": "2x"}, 'WORLD_SIZE = "2x": expected a whole number, 1 or more'),
        ({"WORLD_SIZE": "0"}, 'WORLD_SIZE = "0": expected a whole number, 1 or more'),
        ({"RANK": "-1"}, 'RANK = "-1": expected a whole number, 0 or more'),
        ({"RANK": "²"}, 'RANK = "²": expected a whole number'),
        ({"WORLD_SIZE": "9" * 5000}, r'WORLD_SIZE = "9+\.\.\.9+": expected a whole number'),
        ({**TORCHRUN, "MASTER_PORT": "70000"}, "MASTER_PORT = 70000: expected a port"),
        ({**JOB, "SLURM_NTASKS": "2x"}, 'SLURM_NTASKS = "2x": expected a whole number'),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "two"}, 'SLURM_STEP_NUM_TASKS = "two": expected'),
        (
            {**STEP, "SLURM_STEP_NUM_TASKS": "3", "SLURM_NNODES": "2"},
            "3 tasks on 2 nodes: each node needs the same number of tasks",
        ),
        ({**STEP, "SLURM_PROCID": "2"}, "SLURM_PROCID = 2 and SLURM_LOCALID = 1 are too large"),
        (
            {k: v for k, v in STEP.items() if k != "SLURM_PROCID"},
            "SLURM_PROCID is not set; start with srun",
        ),
        (
            {"OMPI_COMM_WORLD_SIZE": "2"},
            "OMPI_COMM_WORLD_SIZE = 2: genzoo does not connect the processes that mpirun starts",
        ),
        ({"PMI_SIZE": "2"}, "PMI_SIZE = 2: .*torchrun or srun"),
    ],
)
def test_incomplete_launchers_are_refused(env, table, message):
    env(table)
    with pytest.raises(SettingError, match=message):
        announced()


FIT = "import genzoo; genzoo.fit('vae', 'digits', steps=1, batch_size=16, device='cpu')"


def _run(python: str, code: str, **env: str) -> subprocess.CompletedProcess:
    plain = {
        k: v for k, v in os.environ.items() if k not in TORCHRUN and not k.startswith(PREFIXES)
    }
    command = [python, "-c", code]
    return subprocess.run(
        command, env={**plain, **env}, capture_output=True, text=True, check=False
    )


def test_a_batch_script_without_srun_trains(python):
    result = _run(python, FIT, **JOB, SLURM_NTASKS_PER_NODE="2")
    assert result.returncode == 0, result.stderr
    assert "srun did not start this process" in result.stderr


def test_a_port_in_use_is_reported(python):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        table = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
        result = _run(python, FIT, **table, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    last = result.stderr.strip().splitlines()[-1]
    assert (
        f"SettingError: rank 0 of 2 cannot connect to the others at 127.0.0.1:{port} within 5 "
        "minutes: " in last
    )
    assert "in use" in last


def test_waiting_for_a_missing_rank_times_out(python):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code = (
        "import datetime, genzoo; from genzoo.train import processes;"
        "processes._WAIT = datetime.timedelta(seconds=2);"
        f"processes._PATIENCE = 0.0; {FIT}"
    )
    table = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
    }
    result = _run(python, code, **table, MASTER_PORT=str(port))
    assert "rank 0 of 2 waits for the others at 127.0.0.1:" in result.stderr
    assert (
        "SettingError: rank 0 of 2 cannot connect to the others"
        in result.stderr.strip().splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("LT_DEVICES", "2"), ("LT_NUM_NODES", "3"), ("LT_DEVICES", "0,1"), ("LT_DEVICES", "x")],
)
def test_fabric_variables_without_a_launcher_are_refused(env, name, value):
    from genzoo.train.engine import Engine

    env({name: value})
    with pytest.raises(SettingError, match=f'{name} = "{value}", and the launcher announced 1'):
        Engine("cpu", "32-true")


@pytest.mark.parametrize(
    "device", ["", "gpu", "cuda:", "cuda:x", "cuda:²", "cuda:" + "9" * 5000, "cpu:0", "mps:1"]
)
def test_an_invalid_device_is_refused(device):
    from genzoo.train.engine import check_device

    with pytest.raises(SettingError, match=r'^device = ".*": expected "auto", "cpu"'):
        check_device(device)


DEADLY = """
import os, signal, sys
import genzoo
from genzoo.models.wae import WAEMMD

calls, real = 0, WAEMMD.loss

def deadly(self, batch):
    global calls
    calls += 1
    if calls == 3 and os.environ["RANK"] == rank:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise genzoo.GenzooError("this process has bad data")
    return real(self, batch)

WAEMMD.loss = deadly
_, rank, how, out = sys.argv
sys.argv = ["genzoo", "train", "digits", "--model", "wae-mmd", "train.steps=6"]
sys.argv += ["train.batch_size=8", "--out", out]
from genzoo.cli.app import main
main()
"""


@pytest.mark.parametrize(("rank", "how"), [(0, "kill"), (1, "error")])
def test_when_a_process_ends_the_others_print_one_line(tmp_path, python, rank, how):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    children = [
        subprocess.Popen(
            [python, "-P", "-c", DEADLY, str(rank), how, str(tmp_path / "run")],
            env={**os.environ, **shared, "RANK": number, "LOCAL_RANK": number},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for number in ("0", "1")
    ]  # fmt: skip
    messages = [child.communicate()[1] for child in children]
    other = 1 - rank
    assert children[other].returncode == 2
    assert len(messages[other].splitlines()) == 1, messages[other]
    for text in (
        "rank 1: " if other else "error: ",
        "another of the 2 processes ended",
        "The last checkpoint is complete",
    ):
        assert text in messages[other]
    assert children[rank].returncode == (-signal.SIGKILL if how == "kill" else 2)
    assert messages[rank] == ("" if how == "kill" else "rank 1: error: this process has bad data\n")


@pytest.mark.parametrize(
    "message",
    [
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer "
        "[127.0.0.1]:9. GLHF!",
        "NCCL communicator was aborted on rank 0.",
        "failed to recv, got 0 bytes (TCPStore)",
    ],
)
def test_a_failed_collective_names_the_cause(message):
    with (
        pytest.raises(
            TrainingError, match="another of the 2 processes ended or cannot be reached"
        ) as caught,
        peers(2),
    ):
        raise RuntimeError(message)
    assert str(caught.value.__cause__) == message
    assert "third_party" not in str(caught.value)


def test_other_errors_are_unchanged():
    with pytest.raises(RuntimeError, match="shapes"), peers(2):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError, match="gloo"), peers(1):
        raise RuntimeError("gloo")
