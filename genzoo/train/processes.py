"""Read from the environment which processes train together: torchrun's variables, SLURM's, or none.

A launcher that is announced by half, or that does not connect its processes, is refused: each of them would otherwise train
alone, or wait for the others for ever.
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

_TORCHRUN = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_STEPS = 0xFFFFFFF0
"""SLURM's numbers of steps that srun did not start, such as that of the batch script, begin here."""

_WAIT = timedelta(minutes=5)
"""How long a process waits for the others at the start; a cluster may start them one after the other."""
_PATIENCE = 15.0
"""Seconds after which it says so."""


_COLLECTIVE = re.compile(
    r"gloo|nccl|c10d|TCPStore|ProcessGroup|connection (closed|reset)", re.IGNORECASE
)
"""Words of the errors that collectives raise, which have no common type."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together.

    Arguments:
        local: processes on each node.
        nodes: nodes.
        rank: this process, from 0, among all of them.
        local_rank: this process, from 0, among those of its node.
        address: the host on which rank 0 waits for the others.
        port: the port there.
    """

    local: int = 1
    nodes: int = 1
    rank: int = 0
    local_rank: int = 0
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def size(self) -> int:
        """How many there are."""
        return self.local * self.nodes


def announced() -> Processes:
    """Return the processes that a launcher announced, one where there was none.

    Raises:
        SettingError: variables of a launcher are missing, are no numbers or contradict each other, or the launcher is MPI's.
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
        raise SettingError(
            f"{several[0]} = {env[several[0]]} says that several processes train together, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set. Start with torchrun, or unset {several[0]} to train alone."
        )
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if name in env and _number(name) > 1:
            raise SettingError(
                f"{name} = {env[name]}: mpirun starts processes that genzoo does not connect, so each would train alone. "
                f"Start with torchrun or srun, or unset {name} to train alone."
            )
    if "SLURM_NTASKS" in env and _number("SLURM_NTASKS") > max(1, tasks) and not tasks:
        warnings.warn(
            f"SLURM gave this job {env['SLURM_NTASKS']} tasks, but srun did not start this process, so it trains alone. "
            "To use them all, put srun before the command.",
            stacklevel=2,
        )
    return Processes()


def environment(group: Processes) -> Any:
    """Return the processes in Fabric's terms, so that it does not look for launchers itself."""
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
            """Do nothing: the launcher said it."""

        def global_rank(self) -> int:
            return group.rank

        def set_global_rank(self, rank: int) -> None:
            """Do nothing: the launcher said it."""

        def local_rank(self) -> int:
            return group.local_rank

        def node_rank(self) -> int:
            return group.rank // group.local

    return Announced() if group.size > 1 else LightningEnvironment()


def launch(fabric: Any, group: Processes) -> None:
    """Connect the processes; wait for those that are late, but not for ever.

    Raises:
        SettingError: some do not come in time, or the place where they meet cannot be used.
    """
    if group.size == 1:
        fabric.launch()
        return
    where, minutes = f"{group.address}:{group.port}", _WAIT.total_seconds() / 60
    others = f"rank {group.rank} of {group.size} waits for the others at {where}, for at most {minutes:g} minutes"
    note = threading.Timer(_PATIENCE, warnings.warn, (others,))
    note.daemon = True
    note.start()
    fabric.strategy._timeout = (
        _WAIT  # Fabric's argument for it is lost where the environment names the strategy
    )
    try:
        fabric.launch()
    except (
        RuntimeError,
        ValueError,
        OSError,
    ) as error:  # torch's network errors are `RuntimeError`s
        raise SettingError(
            f"rank {group.rank} of {group.size} cannot meet the others at {where} within {minutes:g} minutes: "
            f"{on_one_line(str(error))[:300]}. Start all of them with torchrun or srun; for another port set MASTER_PORT."
        ) from error
    finally:
        note.cancel()
    # what follows may take longer: one rank writes while the others wait
    distributed_c10d._set_pg_timeout(distributed_c10d.default_pg_timeout)


@contextmanager
def peers(size: int) -> Iterator[None]:
    """Within: a collective that fails, because another of `size` processes ended, is one error.

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
            f"another of the {size} processes ended or cannot be reached ({reason}); its message says why. "
            "The last checkpoint is whole: resume when all processes can run."
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
    """Return how many tasks the step has that srun started this process in, 0 where srun did not."""
    env = os.environ
    step = next((name for name in ("SLURM_STEP_ID", "SLURM_STEPID") if name in env), None)
    if step is None or _number(step) >= _STEPS:
        return 0
    name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in env else "SLURM_NTASKS"
    return _number(name) if name in env else 1


def _slurm(tasks: int) -> Processes:
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    env = os.environ
    if missing := [name for name in ("SLURM_PROCID", "SLURM_LOCALID") if name not in env]:
        raise SettingError(
            f"this job step has {tasks} tasks, but {' and '.join(missing)} are not set; start with srun."
        )
    nodes = next(
        (_number(name) for name in ("SLURM_STEP_NUM_NODES", "SLURM_NNODES") if name in env), 1
    )
    if tasks % nodes:
        raise SettingError(
            f"{tasks} tasks on {nodes} nodes: each node needs as many; give srun --ntasks-per-node."
        )
    rank, local_rank = _number("SLURM_PROCID"), _number("SLURM_LOCALID")
    if rank >= tasks or local_rank >= tasks // nodes:
        raise SettingError(
            f"SLURM_PROCID = {rank} and SLURM_LOCALID = {local_rank} are too large for {tasks} tasks on {nodes} nodes; "
            "start with srun --ntasks-per-node."
        )
    nodelist = env.get("SLURM_STEP_NODELIST", env.get("SLURM_NODELIST", "127.0.0.1"))
    address = env.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodelist)
    job = env.get("SLURM_JOB_ID", "")
    by_job = (
        15_000 + int(job[-4:]) if job.isascii() and job.isdigit() else 12_910
    )  # the same in every process of a job
    port = _number("MASTER_PORT") if "MASTER_PORT" in env else by_job
    return Processes(tasks // nodes, nodes, rank, local_rank, address, port)


def _number(name: str) -> int:
    """Return a variable's value.

    Raises:
        SettingError: it is no whole number, or 0 where something is counted.
    """
    text, least = os.environ[name], int(not name.endswith(("RANK", "ID")))
    if not (text.isascii() and text.isdigit() and len(text) < 19) or int(text) < least:
        raise SettingError(
            f"{name} = {show(text)}: expected a whole number from {least} on; unset it to train alone."
        )
    if name == "MASTER_PORT" and int(text) > 65_535:
        raise SettingError(f"MASTER_PORT = {text}: expected a port, from 1 to 65535.")
    return int(text)
