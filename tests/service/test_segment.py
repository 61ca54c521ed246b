"""Asking about an image and waiting for the answer."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from tests.service.conftest import Serve, decoded, problem

FILE = "image"
ELSEWHERE = '{"type": "Polygon", "coordinates": [[[900, 0], [990, 0], [990, 9]]]}'


def from_text(text: str) -> NDArray[np.uint8]:
    return decoded(base64.b64decode(text))


def test_an_uploaded_image_is_answered_with_what_was_asked_for(
    client: TestClient, picture: bytes, bright_square: NDArray[np.uint8]
) -> None:
    outputs = ["polygons", "mask", "probability", "overlay"]
    data = {"phrases": ["the square", "the unicorn"], "outputs": outputs}
    response = client.post("/v1/segment", data=data, files={FILE: ("a photo.png", picture)})
    assert response.status_code == 200, response.text
    found = response.json()
    square, unicorn = found["answers"]
    assert (found["kind"], found["width"], found["height"], found["model"]) == ("picture", 100, 80, "fake")
    assert (found["links"], square["links"], found["scene"]) == (None, None, None)
    assert (square["phrase"], square["found"], square["objects"]) == ("the square", True, 1)
    assert (square["area"], square["area_unit"], square["bounds"]) == (900.0, "px", [30, 20, 60, 50])
    expected = bright_square[..., 0] > 127
    np.testing.assert_array_equal(from_text(square["outputs"]["mask"]) > 0, expected)
    np.testing.assert_array_equal(from_text(square["outputs"]["probability"]) > 255 * found["threshold"], expected)
    assert from_text(square["outputs"]["overlay"]).ndim == 3
    (feature,) = square["outputs"]["polygons"]["features"]
    assert feature["properties"]["phrase"] == "the square"
    assert (unicorn["found"], unicorn["objects"], unicorn["area"], unicorn["bounds"]) == (False, 0, 0.0, None)
    assert not from_text(unicorn["outputs"]["mask"]).any()
    assert not from_text(unicorn["outputs"]["probability"]).any()
    assert unicorn["outputs"]["polygons"]["features"] == []


def test_nothing_stays_of_an_image_that_is_not_to_be_kept(client: TestClient, picture: bytes, tmp_path: Path) -> None:
    client.post("/v1/segment", data={"phrases": "the square"}, files={FILE: picture})
    left = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert {path.name.partition("-")[0] for path in left} <= {"service.sqlite", "lock"}
    assert client.get("/v1/scenes").json()["scenes"][-1]["uploaded"] is False


def test_a_kept_answer_about_a_scene_has_links_that_work(
    client: TestClient, geotiff: Path, bright_square: NDArray[np.uint8]
) -> None:
    data = {"scene": "scene", "phrases": "the square", "keep": "true"}
    found = client.post("/v1/segment", data=data).json()
    (answer,) = found["answers"]
    assert (found["kind"], answer["area_unit"]) == ("map", "m2")
    assert answer["area"] == pytest.approx(901, abs=1)
    west, south, east, north = found["bounds"]
    assert west < answer["bounds"][0] < answer["bounds"][2] < east
    assert south < answer["bounds"][1] < answer["bounds"][3] < north
    assert client.get(f"/v1/results/{found['id']}").json() == found
    links = answer["links"]
    mask = client.get(links["mask"])
    assert mask.headers["content-disposition"] == 'attachment; filename="scene-1.tif"'
    with rasterio.MemoryFile(mask.content) as memory, memory.open() as dataset, rasterio.open(geotiff) as scene:
        np.testing.assert_array_equal(dataset.read(1) > 0, bright_square[..., 0] > 127)
        assert (dataset.crs, dataset.transform) == (scene.crs, scene.transform)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.tags()["PHRASE"] == "the square"
    probability = decoded(client.get(links["probability"]).content)
    assert probability.shape == (80, 100)
    assert decoded(client.get(links["probability"] + "?side=50").content).shape == (40, 50)
    assert decoded(client.get(links["overlay"]).content).shape[2] == 3
    (feature,) = client.get(links["geojson"]).json()["features"]
    assert feature["properties"]["source"] == "scene.tif"
    assert client.get(found["links"]["gpkg"]).content.startswith(b"SQLite format 3")
    z = 18
    tile = decoded(client.get(tile_at(links["probability_tiles"], answer["bounds"], z)).content)
    assert tile.shape == (256, 256, 2)
    assert tile[..., 0].max() > 200


def tile_at(template: str, bounds: list[float], z: int) -> str:
    """The tile in which a box's centre lies."""
    import morecantile

    tile = morecantile.tms.get("WebMercatorQuad").tile((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2, z)
    return template.format(x=tile.x, y=tile.y, z=tile.z)


def test_files_follow_another_threshold_without_asking_again(
    client: TestClient, bright_square: NDArray[np.uint8]
) -> None:
    model = client.app.state.service.segmenter._backend.answerer  # type: ignore[attr-defined]
    found = client.post("/v1/segment", data={"scene": "photo", "phrases": "the square", "keep": "true"}).json()
    asked = list(model.model.batch_sizes) if hasattr(model, "model") else None
    links = found["answers"][0]["links"]
    probability = decoded(client.get(links["probability"]).content)
    for threshold in (0.2, 0.03, 0.999):
        expected = probability > 255 * threshold
        content = client.get(links["mask"], params={"threshold": threshold}).content
        with rasterio.MemoryFile(content) as memory, memory.open() as dataset:
            np.testing.assert_array_equal(dataset.read(1) > 0, expected)
        features = client.get(links["geojson"], params={"threshold": threshold}).json()["features"]
        assert bool(features) == expected.any()
        assert client.get(links["overlay"], params={"threshold": threshold}).status_code == 200
    if asked is not None:
        assert model.model.batch_sizes == asked


def test_only_the_area_of_interest_is_looked_at(client: TestClient, bright_square: NDArray[np.uint8]) -> None:
    left_half = {"type": "Polygon", "coordinates": [[[0, 0], [45, 0], [45, 80], [0, 80], [0, 0]]]}
    data = {"scene": "photo", "phrases": "the square", "area": json.dumps(left_half), "outputs": ["mask", "overlay"]}
    (answer,) = client.post("/v1/segment", data=data).json()["answers"]
    mask = from_text(answer["outputs"]["mask"]) > 0
    assert mask.shape == (80, 100)
    assert not mask[:, 45:].any()
    inside = (bright_square[..., 0] > 127)[:, :45]
    assert np.count_nonzero(mask[:, :45] != inside) < 0.15 * np.count_nonzero(inside)  # the model sees it enlarged

    scene = client.get("/v1/scenes/scene").json()
    west, south, east, north = scene["bounds"]
    middle = (west + east) / 2
    half = [[west, south], [middle, south], [middle, north], [west, north], [west, south]]
    area = {"type": "Polygon", "coordinates": [half]}
    data = {"scene": "scene", "phrases": "the square", "area": json.dumps(area), "keep": "true"}
    found = client.post("/v1/segment", data=data).json()
    assert found["area"] == area
    assert found["answers"][0]["bounds"][2] <= middle + (east - west) / 100


def test_the_threshold_is_the_clients(client: TestClient) -> None:
    everything = client.post("/v1/segment", data={"scene": "photo", "phrases": "the square", "threshold": "0"}).json()
    assert (everything["threshold"], everything["answers"][0]["pixels"]) == (0.0, 8000)


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        ({"scene": "photo"}, 400, "phrases"),
        ({"scene": "photo", "phrases": "  "}, 400, "the phrase is empty"),
        ({"scene": "photo", "phrases": ["a"] * 17}, 400, "more than 16"),
        ({"scene": "photo", "phrases": "a", "threshold": "2"}, 400, "threshold"),
        ({"scene": "photo", "phrases": "a", "threshold": "nan"}, 400, "threshold"),
        ({"scene": "photo", "phrases": "a", "area": "{"}, 400, "not even JSON"),
        ({"scene": "photo", "phrases": "a", "area": '{"type": "Point", "coordinates": [1, 2]}'}, 400, "no polygon"),
        (
            {
                "scene": "photo",
                "phrases": "a",
                "area": '{"type": "Polygon", "coordinates": [[[900,0],[990,0],[990,9]]]}',
            },
            400,
            "outside of photo.png",
        ),
        ({"scene": "photo", "phrases": "a", "outputs": "everything"}, 400, "outputs"),
        ({"phrases": "a"}, 400, "either an image or the id of a scene"),
        ({"scene": "nowhere", "phrases": "a"}, 404, "there is no scene 'nowhere'"),
    ],
)
def test_what_makes_no_sense_is_told_in_words(
    client: TestClient, data: dict[str, object], status: int, words: str
) -> None:
    assert words in problem(client.post("/v1/segment", data=data), status)


def test_large_images_are_for_jobs(serve: Serve, photo: Path) -> None:
    client = serve(photo, limits={"segment_pixels": 7999})
    assert client.get("/v1/scenes/photo").json()["run"] == "job"
    assert "as a job" in problem(client.post("/v1/segment", data={"scene": "photo", "phrases": "a"}), 413)


def test_results_can_be_deleted_and_are_the_askers_own(serve: Serve, photo: Path) -> None:
    client = serve(photo, tokens=("first-token", "second-token"))
    first, second = ({"Authorization": f"Bearer {name}-token"} for name in ("first", "second"))
    data = {"scene": "photo", "phrases": "the square", "keep": "true"}
    found = client.post("/v1/segment", data=data, headers=first).json()
    link = f"/v1/results/{found['id']}"
    problem(client.get(link, headers=second), 404)
    problem(client.delete(link, headers=second), 404)
    assert client.delete(link, headers=first).status_code == 204
    problem(client.get(link, headers=first), 404)
