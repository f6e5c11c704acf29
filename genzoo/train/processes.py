"""Read from the environment which processes train together: those of torchrun, of SLURM, or one.

If the variables of a launcher are incomplete, or if the launcher does not connect its processes,
raise an error. Otherwise, each process would train alone or wait for the others forever.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import distributed_c10d

from genzoo.errors import SettingError, TrainingError, on_one_line, show

__all__ = ["Processes", "announced", "environment", "launch", "peers"]

_TORCHRUN = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_FIRST_SPECIAL_STEP = 0xFFFFFFF0
"""The smallest SLURM step ID of the steps that srun did not start, such as the batch script."""

_WAIT = timedelta(minutes=5)
"""The longest time to wait for the other processes; a cluster may start them one by one."""
_PATIENCE = 15.0
"""The number of seconds of waiting after which the process warns that it waits."""

_COLLECTIVE = re.compile(
    r"gloo|nccl|c10d|TCPStore|ProcessGroup|connection (closed|reset)", re.IGNORECASE
)
"""A pattern for the messages of failed collectives, because their errors share no type."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together.

    Arguments:
        local: the number of processes on each node.
        nodes: the number of nodes.
        rank: the index of this process among all processes, from 0.
        local_rank: the index of this process among the processes of its node, from 0.
        address: the host on which rank 0 waits for the others.
        port: the port on which rank 0 waits for the others.
    """

    local: int = 1
    nodes: int = 1
    rank: int = 0
    local_rank: int = 0
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def size(self) -> int:
        """The number of processes on all nodes."""
        return self.local * self.nodes


def announced() -> Processes:
    """Return the processes that a launcher announced, or one process if there is no launcher.

    Raises:
        SettingError: variables of a launcher are missing, are not numbers, or contradict each
            other; or mpirun started several processes.
    """
    env = os.environ
    numbers = {name: _number(name) for name in _TORCHRUN if name in env and name != "MASTER_ADDR"}
    missing = [name for name in _TORCHRUN if name not in env]
    if not missing:
        return _torchrun(numbers)
    if (tasks := _tasks_of_step()) > 1:
        return _slurm(tasks)
    several = [
        name
        for name, number in numbers.items()
        if name != "MASTER_PORT" and number > int("SIZE" in name)
    ]
    if several:
        verb = "is" if len(missing) == 1 else "are"
        raise SettingError(
            f"{several[0]} = {env[several[0]]} means that several processes train together, but "
            f"{', '.join(missing)} {verb} not set. Start with torchrun, or unset {several[0]} to "
            "train alone."
        )
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if name in env and _number(name) > 1:
            raise SettingError(
                f"{name} = {env[name]}: genzoo does not connect the processes that mpirun starts, "
                "so each process would train alone. Start with torchrun or srun, or unset "
                f"{name} to train alone."
            )
    if "SLURM_NTASKS" in env and _number("SLURM_NTASKS") > max(1, tasks) and not tasks:
        warnings.warn(
            f"SLURM gave this job {env['SLURM_NTASKS']} tasks, but srun did not start this "
            "process, so it trains alone. To use all tasks, put srun before the command.",
            stacklevel=2,
        )
    return Processes()


def environment(group: Processes) -> Any:
    """Return the processes as a Fabric environment, so that Fabric does not detect launchers."""
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    class Announced(ClusterEnvironment):
        creates_processes_externally = True
        main_address, main_port = group.address, group.port

        @staticmethod
        def detect() -> bool:
            return True

        def world_size(self) -> int:
            return group.size

        def set_world_size(self, size: int) -> None:
            """Do nothing, because the launcher has set the world size."""

        def global_rank(self) -> int:
            return group.rank

        def set_global_rank(self, rank: int) -> None:
            """Do nothing, because the launcher has set the rank."""

        def local_rank(self) -> int:
            return group.local_rank

        def node_rank(self) -> int:
            return group.rank // group.local

    return Announced() if group.size > 1 else LightningEnvironment()


def launch(fabric: Any, group: Processes) -> None:
    """Connect the processes. Wait a few minutes for those that start late.

    Raises:
        SettingError: some processes do not start in time, or the address and port cannot be used.
    """
    if group.size == 1:
        fabric.launch()
        return
    endpoint, minutes = f"{group.address}:{group.port}", _WAIT.total_seconds() / 60
    message = (
        f"rank {group.rank} of {group.size} waits for the others at {endpoint}, for at most "
        f"{minutes:g} minutes."
    )
    warning = threading.Timer(_PATIENCE, warnings.warn, (message,))
    warning.daemon = True
    warning.start()
    # Fabric ignores its timeout argument if an environment variable names the strategy
    fabric.strategy._timeout = _WAIT
    try:
        fabric.launch()
    # torch's network errors are `RuntimeError`s
    except (RuntimeError, ValueError, OSError) as error:
        raise SettingError(
            f"rank {group.rank} of {group.size} cannot connect to the others at {endpoint} within "
            f"{minutes:g} minutes: {on_one_line(str(error))[:300]}. Start all processes with "
            "torchrun or srun. To use another port, set MASTER_PORT."
        ) from error
    finally:
        warning.cancel()
    # later collectives may take longer, because the other ranks wait while one rank writes
    distributed_c10d._set_pg_timeout(distributed_c10d.default_pg_timeout)


@contextmanager
def peers(size: int) -> Iterator[None]:
    """Turn the error of a failed collective within the block into a `TrainingError`.

    Collectives fail when another of the `size` processes has ended.

    Raises:
        TrainingError: a collective failed.
    """
    try:
        yield
    except RuntimeError as error:
        if size == 1 or not (
            type(error).__name__.startswith("Dist") or _COLLECTIVE.search(str(error))
        ):
            raise
        reason = re.sub(r"^(\[[^]]*\]\s*)+", "", on_one_line(str(error))).split(". ")[0].rstrip(".")
        raise TrainingError(
            f"another of the {size} processes ended or cannot be reached ({reason}); see its error "
            "message. The last checkpoint is complete. Resume when all processes can run."
        ) from error


def _torchrun(numbers: dict[str, int]) -> Processes:
    size, local, rank, local_rank = (numbers[name] for name in _TORCHRUN[:4])
    if size % local or rank >= size or local_rank >= local:
        stated = ", ".join(f"{name} = {numbers[name]}" for name in _TORCHRUN[:4])
        raise SettingError(
            f"{stated} contradict each other; start with torchrun, which sets them all."
        )
    return Processes(
        local, size // local, rank, local_rank, os.environ["MASTER_ADDR"], numbers["MASTER_PORT"]
    )


def _tasks_of_step() -> int:
    """Return the number of tasks in this job step, or 0 if srun did not start this process."""
    env = os.environ
    step = next((name for name in ("SLURM_STEP_ID", "SLURM_STEPID") if name in env), None)
    if step is None or _number(step) >= _FIRST_SPECIAL_STEP:
        return 0
    name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in env else "SLURM_NTASKS"
    return _number(name) if name in env else 1


def _slurm(tasks: int) -> Processes:
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    env = os.environ
    if missing := [name for name in ("SLURM_PROCID", "SLURM_LOCALID") if name not in env]:
        verb = "is" if len(missing) == 1 else "are"
        raise SettingError(
            f"this job step has {tasks} tasks, but {' and '.join(missing)} {verb} not set; start "
            "with srun."
        )
    nodes = next(
        (_number(name) for name in ("SLURM_STEP_NUM_NODES", "SLURM_NNODES") if name in env), 1
    )
    if tasks % nodes:
        raise SettingError(
            f"{tasks} tasks on {nodes} nodes: each node needs the same number of tasks; set "
            "--ntasks-per-node for srun."
        )
    rank, local_rank = _number("SLURM_PROCID"), _number("SLURM_LOCALID")
    if rank >= tasks or local_rank >= tasks // nodes:
        raise SettingError(
            f"SLURM_PROCID = {rank} and SLURM_LOCALID = {local_rank} are too large for {tasks} "
            f"tasks on {nodes} nodes; start with srun --ntasks-per-node."
        )
    nodelist = env.get("SLURM_STEP_NODELIST", env.get("SLURM_NODELIST", "127.0.0.1"))
    address = env.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodelist)
    job = env.get("SLURM_JOB_ID", "")
    # all processes of a job must choose the same port
    default_port = 15_000 + int(job[-4:]) if job.isascii() and job.isdigit() else 12_910
    port = _number("MASTER_PORT") if "MASTER_PORT" in env else default_port
    return Processes(tasks // nodes, nodes, rank, local_rank, address, port)


def _number(name: str) -> int:
    """Return the value of an environment variable.

    Raises:
        SettingError: the value is not a whole number, or a count is 0.
    """
    text, least = os.environ[name], int(not name.endswith(("RANK", "ID")))
    if not (text.isascii() and text.isdigit() and len(text) < 19) or int(text) < least:
        raise SettingError(
            f"{name} = {show(text)}: expected a whole number, {least} or more; unset {name} to "
            "train alone."
        )
    if name == "MASTER_PORT" and int(text) > 65_535:
        raise SettingError(f"MASTER_PORT = {text}: expected a port, from 1 to 65535.")
    return int(text)
