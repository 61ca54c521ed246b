"""The engine for many machines: Ray Data with a pool of actors, each of which loads the model once.

Ray brings the units to the workers and their outcomes back, a few words each; images and answers travel over the
storage that all machines share. What Ray tries again, because a worker or its machine died, finds in the batch's folder
what is done already.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from refersat import __version__
from refersat.batch.job import Job
from refersat.batch.rows import Unit
from refersat.batch.worker import Outcome, Worker
from refersat.errors import UserError

_MOST_UNITS = 64  # that a task has; with fewer, Ray's own work on a large catalogue grows
_TASKS_PER_WORKER = 16  # at least, so that all end together
_REFUSED = "refused"
_PATIENCE = 10.0  # seconds
_ATTEMPTS = 3  # to connect


@dataclass(frozen=True)
class Cluster:
    """Where and with what to run.

    Attributes:
        address: "auto" or "ray://host:10001" for a cluster that runs; None starts one on this machine.
        workers: how many models at most; as many as fit when None.
        gpus: of each worker; 1 where the cluster has GPUs and the job does not say "cpu", when None.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers is at least 1, not {self.workers}")
        if self.gpus is not None and self.gpus < 0:
            raise UserError(f"--gpus-per-worker is 0 or more, not {self.gpus}")


def require_ray() -> None:
    """Refuse to go on without Ray.

    Raises:
        UserError: says how to get it.
    """
    from importlib.util import find_spec

    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise UserError("--engine ray needs Ray: pip install 'refersat[ray]' on every machine, or leave out --engine")


def run_on_ray(
    job: Job, units: Sequence[Unit], cluster: Cluster, say: Callable[[str], None] = lambda line: None
) -> Generator[Outcome, None, None]:
    """Answer units on a cluster, in whatever order they finish.

    Raises:
        UserError: there is no such cluster, no room in it, or a worker refuses; see `Worker`.
    """
    import ray

    threads = job.threads or 1
    _connect(cluster, threads)
    try:
        gpus = _gpus(cluster, job)
        workers = _workers(cluster, threads, gpus)
        say(_about(workers, threads, gpus))
        answered = _from_outside if ray.util.client.ray.is_connected() else _outcomes
        for outcome in answered(job, units, min(workers, len(units)), gpus):
            if _REFUSED in outcome:
                raise UserError(outcome[_REFUSED])
            yield Outcome(**outcome)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise UserError(f"the cluster gave up ({_gist(error)}): --resume goes on where it was") from error
    finally:
        ray.shutdown()


def _outcomes(job: Job, units: Sequence[Unit], workers: int, gpus: float) -> Iterator[dict[str, Any]]:
    """What `_Actor` tells of each unit, from within the cluster."""
    import ray.data

    _quiet()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours tells of rows
    context.print_on_execution_start = False
    context.target_max_block_size = 1  # each outcome is told at once, and not with the last one of its task
    items = [
        json.dumps([[unit.image, list(unit.phrases)] for unit in task])
        for task in _tasks(units, workers, job.batch_size or 1)
    ]
    data = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _Actor,
        fn_constructor_args=(job, __version__),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=job.threads or 1,
        num_gpus=gpus or None,
    )
    # Ray Data by itself starts a worker whose process or machine dies again, and so the task that it had.
    for row in data.iter_rows():
        yield json.loads(row["outcome"])


def _from_outside(*plan: Any) -> Iterator[dict[str, Any]]:
    """`_outcomes` for a driver that is no part of the cluster (`ray://`): Ray Data runs only in one that is."""
    import ray

    inside: Any = ray.remote(num_cpus=0)(_Inside).remote(*plan)
    while True:
        try:
            outcome: dict[str, Any] | None = ray.get(inside.more.remote())
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        if outcome is None:
            return
        yield outcome


class _Inside:
    """`_outcomes` in a process of the cluster; it ends with the driver that asks."""

    def __init__(self, *plan: Any) -> None:
        self._outcomes = _outcomes(*plan)

    def more(self) -> dict[str, Any] | None:
        """The next outcome, when there is one; None at the end."""
        return next(self._outcomes, None)


class _Actor:
    """A worker in a process of the cluster; what is wrong with it is told by its first task, not by its death."""

    def __init__(self, job: Job, version: str) -> None:
        self._worker: Worker | None = None
        self._job, self._version = job, version

    def __call__(self, batch: dict[str, NDArray[Any]]) -> Iterator[dict[str, list[str]]]:
        for item in batch["item"]:
            for outcome in self._run(str(item)):
                yield {"outcome": [json.dumps(outcome)]}

    def _run(self, item: str) -> Iterator[dict[str, Any]]:
        try:
            worker = self._ready()
            units = [Unit(image, tuple(phrases)) for image, phrases in json.loads(item)]
            for outcome in worker.run(units):
                yield asdict(outcome)
        except UserError as error:
            yield {_REFUSED: str(error)}

    def _ready(self) -> Worker:
        if self._worker is None:
            if self._version != __version__:
                here = f"{socket.gethostname()} has refersat {__version__}"
                raise UserError(f"{here}, not {self._version}: install the same everywhere")
            self._worker = Worker(self._job)
        return self._worker


def _connect(cluster: Cluster, threads: int) -> None:
    # Ray reports its use to its makers; nothing goes into the network that the user did not ask for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

    if cluster.address is not None:
        _knock(cluster.address)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if cluster.address is None and cluster.workers is not None:
        options["num_cpus"] = cluster.workers * threads
    try:
        # "local": a cluster that runs on this machine is not taken unasked.
        _init(cluster.address or "local", options)
    except Exception as error:  # also plain ones, where a node takes too long to start
        where, hint = "here", "see the message"
        if cluster.address:
            where, hint = f"at {cluster.address}", "is it running, and RAY_AUTH_MODE the same here? `ray status` tells"
        raise UserError(f"no Ray cluster {where} ({hint}): {_gist(error)}") from error


def _init(address: str, options: dict[str, Any]) -> None:
    """Ask again where the process died that a cluster starts for a driver outside (on a busy machine, in gRPC)."""
    import ray

    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(ConnectionAbortedError):
            ray.init(address, **options)
            return
        ray.shutdown()
    ray.init(address, **options)


def _knock(address: str) -> None:
    """Ray itself waits for minutes where nobody answers.

    Raises:
        UserError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster at {address} ({error.strerror or error}): is it running? `ray status` there tells"
        ) from error


def _quiet() -> None:
    """Without Ray Data's own running commentary: a person reads our one line."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _gpus(cluster: Cluster, job: Job) -> float:
    if cluster.gpus is not None:
        return cluster.gpus
    import ray

    return 1.0 if job.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


def _workers(cluster: Cluster, threads: int, gpus: float) -> int:
    """How many: what was asked for, else as many as there is room for now."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(
        int(min(one.get("CPU", 0) // threads, one.get("GPU", 0) // gpus if gpus else one.get("CPU", 0)))
        for one in nodes
    )
    if not room:
        raise UserError(
            f"no machine of the cluster has room for a worker with {threads} CPUs"
            + (f" and {gpus:g} GPUs" if gpus else "")
            + ": `ray status` shows what there is; change --threads or --gpus-per-worker"
        )
    return cluster.workers or room


def _about(workers: int, threads: int, gpus: float) -> str:
    import ray

    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    each = f"{threads} CPU{'s' if threads > 1 else ''}" + (f" and {gpus:g} GPU" if gpus else "")
    address = getattr(getattr(ray._private.worker, "global_worker", None), "node", None)
    board = getattr(getattr(address, "address_info", None), "get", lambda key: None)("webui_url")
    shown = f"; dashboard http://{board}" if board else ""
    return f"Ray: {nodes} machine{'s' if nodes > 1 else ''}, up to {workers} workers with {each} each{shown}"


def _tasks(units: Sequence[Unit], workers: int, together: int) -> list[Sequence[Unit]]:
    """As many as a model answers `together`, or a multiple of it."""
    size = max(1, min(_MOST_UNITS, len(units) // (workers * _TASKS_PER_WORKER)))
    size = max(1, size // together) * together
    return [units[first : first + size] for first in range(0, len(units), size)]


def _gist(error: BaseException) -> str:
    """The first line, or where that only announces a traceback, what the traceback ends with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if lines[0].endswith(":") else 0]
