"""Batches on a real Ray cluster of two nodes, on which workers, nodes and drivers are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.batch import stand_in
from tests.batch.compare import answers
from tests.batch.drivers import ENVIRONMENT, Start, finished, wait_until

pytestmark = pytest.mark.slow

IMAGES = 16
SLOW = 0.5  # seconds for each answer, so that there is a middle in which to kill
FROM_OUTSIDE = "ray_client_server_port"


def node(*more_ports: str) -> dict[str, int]:
    """One CPU, and ports of its own: of those that it finds itself, Ray waits a few seconds to hear."""
    names = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port")
    names += more_ports
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        ports = [one.getsockname()[1] for one in sockets]
    return {"num_cpus": 1, **dict(zip(names, ports, strict=True))}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with one CPU each; their processes find the stand-in."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv(stand_in.SECONDS, str(SLOW))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # no test touches the network
        patch.setenv("RAY_worker_niceness", "0")  # by itself Ray lets workers yield to all else on the machine
        # On a busy machine a process that the cluster forks for a driver outside can die in gRPC's threads.
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
        # There nodes, workers and that process also take longer to start than Ray waits for them.
        patch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "900")
        patch.setenv("RAY_agent_register_timeout_ms", "900000")
        patch.setenv("RAY_worker_register_timeout_seconds", "900")
        slowly = {**vars(time), "monotonic": lambda: time.monotonic() / 4}
        patch.setattr("ray._private.node.time", SimpleNamespace(**slowly))
        head = node(FROM_OUTSIDE)
        made = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **head})
        made.from_outside = f"ray://{made.head_node.node_ip_address}:{head[FROM_OUTSIDE]}"
        made.add_node(**node())
        try:
            yield made
        finally:
            made.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A catalogue, and what an undisturbed run on this machine makes of it."""
    folder = tmp_path_factory.mktemp("whole")
    stand_in.write_images(folder / "images", IMAGES)
    (folder / "images" / "broken.tif").write_text("not an image", encoding="utf-8")
    stand_in.run(str(folder / "images"), folder / "out", "local")
    return folder / "images", answers(folder / "out")


def workers(out: Path) -> list[int]:
    """The living processes that have loaded the model."""
    pids = (int(path.name) for path in (out.parent / "pids").glob("*"))
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_killed_worker(cluster: Any, whole: tuple[Path, dict[str, Any]], start: Start, tmp_path: Path) -> None:
    images, expected = whole
    out = tmp_path / "out"
    run = start(images, out, "ray", "--address", cluster.address)
    wait_until(lambda: finished(out) > 3, run)
    os.kill(workers(out)[0], signal.SIGKILL)
    assert run.wait(600) == 0
    assert len(list((tmp_path / "pids").glob("*"))) >= 2  # one of them came after the kill, or both nodes worked
    assert answers(out) == expected


def test_a_killed_driver(cluster: Any, whole: tuple[Path, dict[str, Any]], start: Start, tmp_path: Path) -> None:
    images, expected = whole
    out = tmp_path / "out"
    run = start(images, out, "ray", "--address", cluster.address)
    wait_until(lambda: finished(out) > 3, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert 3 < finished(out) <= IMAGES
    kept = {path: path.stat().st_mtime_ns for path in out.glob("rows/*/*/record.json")}
    assert start(images, out, "ray", "--address", cluster.address, "--resume").wait(600) == 0
    assert answers(out) == expected
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # none was made twice


def test_a_lost_node(cluster: Any, whole: tuple[Path, dict[str, Any]], start: Start, tmp_path: Path) -> None:
    images, expected = whole
    out = tmp_path / "out"
    lost = cluster.add_node(**node())
    run = start(images, out, "ray", "--address", cluster.address)
    wait_until(lambda: finished(out) > 3, run)
    cluster.remove_node(lost, allow_graceful=False)
    assert run.wait(600) == 0
    assert answers(out) == expected


def test_a_driver_outside_the_cluster(
    cluster: Any, whole: tuple[Path, dict[str, Any]], start: Start, tmp_path: Path
) -> None:
    images, expected = whole
    out = tmp_path / "out"
    assert start(images, out, "ray", "--address", cluster.from_outside).wait(600) == 0
    assert answers(out) == expected
