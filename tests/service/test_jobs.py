"""Jobs, as OGC API - Processes Part 1 shapes them: run, watched, cancelled, and there again after a restart."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from refersat.segmenter import Segmenter
from refersat.service.app import create_app
from refersat.service.runner import MAX_STARTS
from refersat.service.settings import Limits, Settings
from refersat.service.store import Store
from tests.scene.scenes import PixelModel, blobs
from tests.service.conftest import Serve, connect, ended, problem, wait_for
from tests.service.models import Gated

REL = "http://www.opengis.net/def/rel/ogc/1.0"
ROOT = Path(__file__).parents[2]
WriteScene = Callable[..., Path]


def submit(client: TestClient, scene: str = "scene", **inputs: Any) -> Any:
    asked = {"scene": scene, "phrases": ["the square", "the unicorn"], "strategy": "tile", "tile": 64, **inputs}
    return client.post("/processes/segment/execution", json={"inputs": asked}, headers={"Prefer": "respond-async"})


@pytest.fixture
def gated(make_segmenter: Callable[..., Segmenter]) -> Gated:
    return Gated(make_segmenter())


def test_the_documents_have_the_standards_shapes(client: TestClient) -> None:
    landing = client.get("/", headers={"Accept": "application/json"}).json()
    links = {link["rel"]: link["href"] for link in landing["links"]}
    for rel in ("service-desc", f"{REL}/conformance", f"{REL}/processes", f"{REL}/job-list"):
        assert client.get(links[rel]).status_code == 200
    conforms = client.get("/conformance").json()["conformsTo"]
    assert {url.rpartition("/")[2] for url in conforms} >= {"core", "json", "job-list", "dismiss"}
    (summary,) = client.get("/processes").json()["processes"]
    assert (summary["id"], summary["jobControlOptions"]) == ("segment", ["async-execute", "dismiss"])
    process = client.get("/processes/segment").json()
    assert set(process["inputs"]) >= {"scene", "phrases", "area", "threshold"}
    assert all("schema" in one for one in (*process["inputs"].values(), *process["outputs"].values()))
    response = client.get("/processes/other")
    assert response.json()["type"].endswith("ogcapi-processes-1/1.0/no-such-process")
    problem(response, 404)
    response = client.get("/jobs/other")
    assert response.json()["type"].endswith("ogcapi-processes-1/1.0/no-such-job")
    problem(response, 404)


def test_a_job_finds_what_the_command_line_finds(
    client: TestClient, geotiff: Path, bright_square: NDArray[np.uint8]
) -> None:
    response = submit(client)
    assert response.status_code == 201, response.text
    assert response.headers["preference-applied"] == "respond-async"
    status = response.json()
    assert (status["status"], status["processID"], status["type"]) == ("accepted", "segment", "process")
    assert response.headers["location"] == f"/jobs/{status['jobID']}"
    done = ended(client, status["jobID"])
    assert (done["status"], done["progress"]) == ("successful", 100), done["message"]
    assert done["created"] <= done["started"] <= done["finished"]
    assert [one["jobID"] for one in client.get("/jobs").json()["jobs"]] == [status["jobID"]]
    assert client.get("/jobs", params={"status": "failed"}).json()["jobs"] == []

    results = client.get(f"/jobs/{status['jobID']}/results").json()
    assert set(results) == set(client.get("/processes/segment").json()["outputs"])
    found = results["result"]["value"]
    assert found == client.get(f"/v1/results/{status['jobID']}").json()
    square, unicorn = found["answers"]
    assert (square["found"], square["objects"]) == (True, 1)
    assert square["area"] == pytest.approx(901, abs=1)
    assert (unicorn["found"], unicorn["objects"], unicorn["bounds"]) == (False, 0, None)
    content = client.get(results["masks"]["value"][0]["href"]).content
    with rasterio.MemoryFile(content) as memory, memory.open() as mask, rasterio.open(geotiff) as scene:
        np.testing.assert_array_equal(mask.read(1) > 0, bright_square[..., 0] > 127)
        assert (mask.crs, mask.transform) == (scene.crs, scene.transform)
        assert mask.tags()["SOURCE"] == "scene.tif"  # and not where it lies on the server
    (feature,) = client.get(results["polygons"]["href"]).json()["features"]
    assert feature["properties"]["phrase"] == "the square"
    west, south, east, north = square["bounds"]
    for longitude, latitude in feature["geometry"]["coordinates"][0]:
        assert west - 1e-6 <= longitude <= east + 1e-6
        assert south - 1e-6 <= latitude <= north + 1e-6
    for link in (results["geopackage"]["href"], square["links"]["overlay"], square["links"]["probability"]):
        assert client.get(link).status_code == 200
        assert client.get(link, params={"threshold": 0.9}).status_code == 200


# GDAL's programs come with no Python package; where they are missing, nothing else could read the results like a user.
@pytest.mark.skipif(not shutil.which("ogrinfo"), reason="GDAL's programs are not installed (.ci/run installs them)")
def test_gdal_reads_the_results(client: TestClient, tmp_path: Path) -> None:
    job = submit(client).json()["jobID"]
    assert ended(client, job)["status"] == "successful"
    found = client.get(f"/v1/results/{job}").json()
    for name in ("geojson", "gpkg"):
        path = tmp_path / f"found.{name}"
        path.write_bytes(client.get(found["links"][name]).content)
        told = subprocess.run(["ogrinfo", "-al", "-so", path], check=True, capture_output=True, text=True).stdout
        assert "Feature Count: 1" in told
    path = tmp_path / "mask.tif"
    path.write_bytes(client.get(found["answers"][0]["links"]["mask"]).content)
    told = subprocess.run(["gdalinfo", path], check=True, capture_output=True, text=True).stdout
    assert "LAYOUT=COG" in told
    assert "UTM zone 31N" in told


def test_an_area_of_interest_bounds_the_job(client: TestClient) -> None:
    west, south, east, north = client.get("/v1/scenes/scene").json()["bounds"]
    middle = (west + east) / 2
    ring = [[west, south], [middle, south], [middle, north], [west, north], [west, south]]
    area = {"type": "Polygon", "coordinates": [ring]}
    for sent in (area, {"value": area, "mediaType": "application/geo+json"}):
        job = submit(client, area=sent).json()["jobID"]
        assert ended(client, job)["status"] == "successful"
        found = client.get(f"/v1/results/{job}").json()
        assert found["area"] == area
        assert 0 < found["answers"][0]["area"] < 800
        assert found["answers"][0]["bounds"][2] <= middle + 2e-5
    pixels = {"type": "Polygon", "coordinates": [[[0, 0], [45, 0], [45, 80], [0, 80], [0, 0]]]}
    job = submit(client, "photo", area=pixels).json()["jobID"]
    assert ended(client, job)["status"] == "successful"
    assert client.get(f"/v1/results/{job}").json()["answers"][0]["bounds"][2] <= 45


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"phrases": []}, "phrases"),
        ({"phrases": [" "]}, "the phrase is empty"),
        ({"phrases": ["a"] * 17}, "more than 16"),
        ({"tile": 3}, "tile"),
        ({"strategy": "best"}, "strategy"),
        ({"area": {"type": "Point", "coordinates": [0, 0]}}, "no polygon"),
        ({"area": {"type": "Polygon", "coordinates": "x"}}, "no polygon"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(client: TestClient, inputs: dict[str, Any], words: str) -> None:
    assert words in problem(submit(client, **inputs), 400)
    assert client.get("/jobs").json()["jobs"] == []


def test_a_job_that_fails_says_why_in_words(client: TestClient, geotiff: Path, tmp_path: Path) -> None:
    job = submit(client, "photo", min_area=5).json()["jobID"]
    done = ended(client, job)
    assert done["status"] == "failed"
    assert "square metres" in done["message"]
    assert str(tmp_path) not in done["message"]
    assert "failed" in problem(client.get(f"/jobs/{job}/results"), 409)
    geotiff.write_bytes(geotiff.read_bytes()[:400])
    job = submit(client).json()["jobID"]
    done = ended(client, job)
    assert done["status"] == "failed"
    assert str(tmp_path) not in done["message"]


def test_a_running_job_shows_its_progress_and_can_be_cancelled(
    serve: Serve, gated: Gated, geotiff: Path, tmp_path: Path
) -> None:
    client = serve(geotiff, segmenter=gated)
    job = submit(client, tile=16).json()["jobID"]
    assert gated.busy.wait(30)
    running = client.get(f"/jobs/{job}").json()
    assert (running["status"], running["progress"]) == ("running", 0)
    assert "0 of" in running["message"]
    assert "not done" in problem(client.get(f"/jobs/{job}/results"), 409)
    waiting = submit(client).json()["jobID"]
    assert client.delete(f"/jobs/{waiting}").json()["status"] == "dismissed"
    assert client.delete(f"/jobs/{job}").json()["status"] == "dismissed"
    gated.gate.set()
    wait_for(lambda: not list((tmp_path / "data" / "results").iterdir()))
    assert gated.tiles <= 2
    assert client.get(f"/jobs/{job}").json()["status"] == "dismissed"
    assert "cancelled" in problem(client.get(f"/jobs/{job}/results"), 410)


def test_dismissing_an_ended_job_deletes_its_result(client: TestClient) -> None:
    job = submit(client).json()["jobID"]
    assert ended(client, job)["status"] == "successful"
    problem(client.delete(f"/v1/results/{job}"), 403)
    assert client.delete(f"/jobs/{job}").json()["status"] == "dismissed"
    problem(client.get(f"/v1/results/{job}"), 404)


def test_clients_are_answered_while_a_job_runs(serve: Serve, gated: Gated, geotiff: Path) -> None:
    client = serve(geotiff, segmenter=gated)
    gated.gate.set()
    job = submit(client, tile=16, overlap=0.5).json()["jobID"]
    assert client.post("/v1/segment", data={"scene": "scene", "phrases": "a"}).status_code == 200
    assert ended(client, job)["status"] == "successful"


def test_jobs_are_bounded_and_private(serve: Serve, gated: Gated, geotiff: Path) -> None:
    client = serve(geotiff, segmenter=gated, limits={"jobs": 4}, tokens=("first-token", "second-token"))
    client.headers["Authorization"] = "Bearer first-token"
    first = submit(client).json()["jobID"]
    assert gated.busy.wait(30)
    assert [submit(client).status_code for _ in range(2)] == [201, 201]
    assert "of your own" in problem(submit(client), 503)
    client.headers["Authorization"] = "Bearer second-token"
    assert submit(client).status_code == 201
    assert len(client.get("/jobs").json()["jobs"]) == 1
    for method in ("GET", "DELETE"):
        problem(client.request(method, f"/jobs/{first}"), 404)
    gated.gate.set()


def test_jobs_and_results_are_there_again_after_a_restart(
    geotiff: Path, tmp_path: Path, make_segmenter: Callable[..., Segmenter]
) -> None:
    settings = Settings(scenes=(str(geotiff),), data=tmp_path / "data")
    model = Gated(make_segmenter())
    model.gate.set()
    with connect(create_app(settings, model)) as client:
        done = submit(client).json()["jobID"]
        assert ended(client, done)["status"] == "successful"
        expected = client.get(f"/jobs/{done}/results").json()
        model.gate.clear()
        model.busy.clear()
        interrupted, waiting = (submit(client, tile=16).json()["jobID"] for _ in range(2))
        assert model.busy.wait(30)
        threading_timer(model.gate.set, 0.3)  # the tile at hand is finished while the server ends
    with connect(create_app(settings, make_segmenter())) as client:
        assert client.get(f"/jobs/{done}/results").json() == expected
        assert client.get(expected["polygons"]["href"]).status_code == 200
        for job in (interrupted, waiting):
            status = ended(client, job)
            assert status["status"] == "successful", status["message"]


def threading_timer(action: Callable[[], None], seconds: float) -> None:
    import threading

    threading.Timer(seconds, action).start()


def test_a_job_that_may_be_what_stops_the_server_is_given_up(
    geotiff: Path, tmp_path: Path, make_segmenter: Callable[..., Segmenter]
) -> None:
    settings = Settings(scenes=(str(geotiff),), data=tmp_path / "data")
    settings.data.mkdir()
    store = Store(settings.data / "service.sqlite")
    inputs = {"scene": "scene", "phrases": ["a"], "area": None, "strategy": "tile", "tile": 64, "overlap": 0.25}
    job = store.add_job("local", {**inputs, "gsd": None, "threshold": None, "min_area": 0.0})
    for _ in range(MAX_STARTS):
        store.begin_job(job.id)
        store.wait_again()
    store.close()
    with connect(create_app(settings, make_segmenter())) as client:
        status = ended(client, job.id)
    assert status["status"] == "failed"
    assert f"stopped {MAX_STARTS} times" in status["message"]


def test_a_job_that_takes_too_long_fails(serve: Serve, gated: Gated, geotiff: Path) -> None:
    client = serve(geotiff, segmenter=gated, limits={"job_hours": 1e-9})
    gated.gate.set()
    done = ended(client, submit(client).json()["jobID"])
    assert (done["status"], "took longer" in done["message"]) == ("failed", True)


class Slow(PixelModel):
    """Takes its time with each tile; a Segmenter for a server that is to be killed."""

    batch_size = 4

    def probabilities(self, questions: Any, **words: Any) -> Any:
        for answer in super().probabilities(questions, **words):
            time.sleep(float(os.environ["SECONDS_A_TILE"]))
            yield answer


def main() -> None:
    """The server that is killed."""
    import uvicorn

    scene, data, port = sys.argv[1:]
    app = create_app(Settings(scenes=(scene,), data=Path(data), limits=Limits()), Slow(blur=9))  # type: ignore[arg-type]
    uvicorn.run(app, port=int(port), log_level="warning")


class Server:
    """A server process."""

    def __init__(self, scene: Path, data: Path, seconds_a_tile: float) -> None:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        code = "from tests.service.test_jobs import main; main()"
        paths = os.pathsep.join([str(ROOT), *sys.path])
        environment = {**os.environ, "PYTHONPATH": paths, "SECONDS_A_TILE": str(seconds_a_tile)}
        self.process = subprocess.Popen([sys.executable, "-c", code, scene, data, str(port)], env=environment)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}")
        wait_for(self._answers, 120)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        try:
            return self.client.get("/health").is_success
        except httpx2.TransportError:
            return False

    def end(self, how: signal.Signals) -> int:
        self.client.close()
        self.process.send_signal(how)
        return self.process.wait(60)


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    """Starts server processes; none outlives the test."""
    started: list[Server] = []

    def start(*words: Any) -> Server:
        started.append(Server(*words))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.mark.slow
def test_a_killed_server_goes_on_where_its_job_was(
    write_raster: WriteScene, tmp_path: Path, server: Callable[..., Server]
) -> None:
    values = np.repeat(blobs(400, 160, grain=20)[None], 3, axis=0)
    scene = write_raster("large.tif", values, crs="EPSG:32631", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 57e5))
    asked = {"inputs": {"scene": "large", "phrases": ["all"], "strategy": "tile", "tile": 40}}
    killed = server(scene, tmp_path / "killed", 0.05)
    job = killed.client.post("/processes/segment/execution", json=asked).json()["jobID"]
    wait_for(lambda: 20 < killed.client.get(f"/jobs/{job}").json()["progress"] < 80, 60)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL

    again = server(scene, tmp_path / "killed", 0.0)
    whole = server(scene, tmp_path / "whole", 0.0)
    other = whole.client.post("/processes/segment/execution", json=asked).json()["jobID"]
    found = []
    for one, name in ((again, job), (whole, other)):
        status = ended(one.client, name)  # type: ignore[arg-type]
        assert status["status"] == "successful", status["message"]
        document = one.client.get(f"/v1/results/{name}").json()
        (answer,) = document["answers"]
        found.append((answer["objects"], answer["area"], one.client.get(answer["links"]["mask"]).content))
    assert found[0] == found[1]
    assert found[0][0] > 3
    # uvicorn raises the signal again once all has come down in order
    assert {again.end(signal.SIGTERM), whole.end(signal.SIGTERM)} == {-signal.SIGTERM}
