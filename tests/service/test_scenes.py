"""Scenes: listed, brought, and shown as map tiles or as pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import morecantile
import numpy as np
import pytest
import rasterio
from affine import Affine
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from refersat.imagery import read_image
from tests.conftest import ONE_METRE, UTM_31N
from tests.service.conftest import Serve, decoded, problem

WriteRaster = Callable[..., Path]


def tile_over(client: TestClient, scene: dict[str, Any], zoom: int, where: tuple[float, float]) -> NDArray[np.uint8]:
    """The tile at a share of the scene's bounds, from west and from north."""
    west, south, east, north = scene["bounds"]
    longitude, latitude = west + where[0] * (east - west), north - where[1] * (north - south)
    tile = morecantile.tms.get("WebMercatorQuad").tile(longitude, latitude, zoom)
    response = client.get(scene["tiles"].format(x=tile.x, y=tile.y, z=tile.z))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    pixels = decoded(response.content)
    assert pixels.shape == (256, 256, 4)
    return pixels


def test_scenes_say_what_they_are(client: TestClient) -> None:
    photo, scene = sorted(client.get("/v1/scenes").json()["scenes"], key=lambda one: one["id"])
    assert (photo["kind"], photo["tiles"], photo["bounds"], photo["crs"]) == ("picture", None, None, None)
    assert (scene["kind"], scene["crs"], scene["dtype"]) == ("map", "EPSG:32631 WGS 84 / UTM zone 31N", "uint8")
    assert scene["gsd"] == pytest.approx(1.0, abs=0.01)
    assert (scene["width"], scene["height"], scene["bands"], scene["run"]) == (100, 80, 3, "segment")
    west, _, _, north = scene["bounds"]
    assert (west, north) == pytest.approx((3.0, 51.45), abs=0.01)
    assert (scene["minzoom"], scene["maxzoom"]) == (17, 17)  # 0.75 m a pixel there
    assert client.get("/v1/scenes/scene").json() == scene


def test_a_sixteen_bit_scene_in_utm_is_shown_as_the_model_sees_it(
    serve: Serve, write_raster: WriteRaster, bright_square: NDArray[np.uint8]
) -> None:
    values = np.moveaxis(bright_square, -1, 0).astype(np.uint16) * 9 + 300
    values = np.concatenate([values, values[:1]])  # and near infrared
    path = write_raster("deep.tif", values, crs=UTM_31N, transform=ONE_METRE, photometric="MINISBLACK")
    client = serve(path)
    scene = client.get("/v1/scenes/deep").json()
    assert (scene["dtype"], scene["bands"]) == ("uint16", 4)
    pixels = tile_over(client, scene, 18, (0.45, 0.45))
    inside = pixels[..., 3] > 0
    assert 0.01 < inside.mean() < 0.6
    assert {0, 255} <= set(np.unique(pixels[inside][:, 0]))  # stretched, and not cut to black or white
    expected = read_image(path).rgb
    shown = decoded(client.get(scene["picture"]).content)
    np.testing.assert_array_equal(shown, expected)


def test_tiles_lie_where_the_scene_lies(client: TestClient, bright_square: NDArray[np.uint8]) -> None:
    scene = client.get("/v1/scenes/scene").json()
    zoom = 19
    pixels = tile_over(client, scene, zoom, (0.45, 0.44))
    tms = morecantile.tms.get("WebMercatorQuad")
    west, south, east, north = scene["bounds"]
    tile = tms.tile(west + 0.45 * (east - west), north - 0.44 * (north - south), zoom)
    bounds = tms.xy_bounds(tile)
    rows, columns = np.mgrid[8:256:16, 8:256:16]
    x = bounds.left + (columns + 0.5) / 256 * (bounds.right - bounds.left)
    y = bounds.top - (rows + 0.5) / 256 * (bounds.top - bounds.bottom)
    from rasterio.warp import transform

    easting, northing = transform("EPSG:3857", UTM_31N, x.ravel(), y.ravel())
    across, down = np.array(~ONE_METRE * (np.array(easting), np.array(northing)))
    compared = 0
    for column, row, where in zip(across, down, zip(rows.ravel(), columns.ravel(), strict=True), strict=True):
        value, alpha = pixels[where][[0, 3]]
        if not (-2 < column < 102 and -2 < row < 82):
            assert alpha == 0
        elif 2 < column < 98 and 2 < row < 78 and not near_an_edge(column, row):
            assert alpha == 255
            assert (value > 127) == (bright_square[int(row), int(column), 0] > 127)
            compared += 1
    assert compared > 20


def near_an_edge(column: float, row: float) -> bool:
    return min(abs(column - 30), abs(column - 60), abs(row - 20), abs(row - 50)) <= 2


def test_tiles_elsewhere_are_transparent(client: TestClient) -> None:
    for z, x, y in ((0, 0, 0), (5, 1, 1), (18, 0, 0), (24, 5, 5)):
        pixels = decoded(client.get(f"/v1/scenes/scene/tiles/{z}/{x}/{y}.png").content)
        assert (pixels[..., 3] > 0).mean() < 0.01


def test_holes_are_transparent(serve: Serve, write_raster: WriteRaster, bright_square: NDArray[np.uint8]) -> None:
    values = np.moveaxis(bright_square, -1, 0).copy()
    values[:, :, :50] = 0
    client = serve(write_raster("holes.tif", values, crs=UTM_31N, transform=ONE_METRE, nodata=0))
    scene = client.get("/v1/scenes/holes").json()
    assert tile_over(client, scene, 20, (0.25, 0.5))[128, 100, 3] in (0, 255)
    picture = decoded(client.get(scene["picture"]).content)
    assert (picture[:, :50, 3] == 0).all()
    assert (picture[:, 50:, 3] == 255).all()


def test_near_infrared_tagged_as_alpha_hides_nothing(serve: Serve, write_raster: WriteRaster) -> None:
    infrared = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    values = np.stack([*(np.full((64, 64), value, np.uint8) for value in (200, 100, 50)), infrared])
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    client = serve(write_raster("rgbn.tif", values, crs=UTM_31N, transform=ONE_METRE, interpretation=colours))
    scene = client.get("/v1/scenes/rgbn").json()
    pixels = tile_over(client, scene, 19, (0.5, 0.5))
    assert {tuple(map(int, one)) for one in np.unique(pixels.reshape(-1, 4), axis=0)} <= {(200, 100, 50, 255), (0,) * 4}
    assert (pixels[..., 3] == 255).sum() > 1000


def test_a_palette_keeps_its_colours(serve: Serve, write_raster: WriteRaster) -> None:
    values = np.zeros((1, 64, 64), np.uint8)
    values[0, 16:48, 16:48] = 1
    path = write_raster("land.tif", values, crs=UTM_31N, transform=ONE_METRE, photometric="PALETTE")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (10, 20, 30, 255), 1: (200, 100, 50, 255)})
        dataset.colorinterp = [ColorInterp.palette]
    client = serve(path)
    scene = client.get("/v1/scenes/land").json()
    pixels = tile_over(client, scene, 19, (0.5, 0.5))
    colours = {tuple(int(value) for value in colour) for colour in np.unique(pixels[pixels[..., 3] > 0][:, :3], axis=0)}
    assert (200, 100, 50) in colours
    assert colours <= {(10, 20, 30), (200, 100, 50)}


def test_what_no_web_map_shows_is_a_picture(
    serve: Serve, write_raster: WriteRaster, bright_square: NDArray[np.uint8]
) -> None:
    pole = Affine(100.0, 0.0, 0.0, 0.0, -100.0, 0.0)
    path = write_raster("pole.tif", np.moveaxis(bright_square, -1, 0), crs="EPSG:3413", transform=pole)
    client = serve(path)
    scene = client.get("/v1/scenes/pole").json()
    assert (scene["kind"], scene["tiles"]) == ("picture", None)
    assert scene["gsd"] == pytest.approx(100, rel=0.05)
    problem(client.get("/v1/scenes/pole/tiles/0/0/0.png"), 404)
    (answer,) = client.post("/v1/segment", data={"scene": "pole", "phrases": "a", "keep": "true"}).json()["answers"]
    assert (answer["bounds"], answer["area_unit"]) == ([30, 20, 60, 50], "m2")


def test_an_upload_counts_as_a_scene_until_it_is_deleted(client: TestClient, geotiff: Path) -> None:
    response = client.post("/v1/scenes", files={"file": ("My harbour.tif", geotiff.read_bytes())})
    assert response.status_code == 201
    scene = response.json()
    assert response.headers["location"] == f"/v1/scenes/{scene['id']}"
    assert (scene["name"], scene["uploaded"], scene["kind"]) == ("My harbour.tif", True, "map")
    assert scene in client.get("/v1/scenes").json()["scenes"]
    assert tile_over(client, scene, 18, (0.5, 0.5)).any()
    data = {"scene": scene["id"], "phrases": "the square", "keep": "true"}
    found = client.post("/v1/segment", data=data).json()
    assert found["answers"][0]["found"]
    mask = client.get(found["answers"][0]["links"]["mask"])
    assert 'filename="My-harbour-1.tif"' in mask.headers["content-disposition"]
    assert client.delete(f"/v1/scenes/{scene['id']}").status_code == 204
    problem(client.get(scene["picture"]), 404)
    problem(client.delete("/v1/scenes/scene"), 403)


def test_pictures_are_reduced(client: TestClient) -> None:
    assert decoded(client.get("/v1/scenes/photo/picture.png").content).shape == (80, 100, 3)
    assert decoded(client.get("/v1/scenes/photo/picture.png?side=50").content).shape == (40, 50, 3)
    assert "side" in problem(client.get("/v1/scenes/photo/picture.png?side=0"), 400)


def test_links_carry_a_proxys_prefix(serve: Serve, photo: Path) -> None:
    client = serve(photo, root_path="/maps")
    (scene,) = client.get("/maps/v1/scenes").json()["scenes"]
    assert scene["picture"] == "/maps/v1/scenes/photo/picture.png"
    assert client.get(scene["picture"]).status_code == 200
    landing = client.get("/maps/", headers={"Accept": "application/json"}).json()
    assert all(link["href"].startswith("/maps/") for link in landing["links"])


def test_browsers_get_the_page_and_programs_the_landing_page(serve: Serve, tmp_path: Path) -> None:
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html><title>the page</title>")
    (page / "assets" / "app.js").write_text("run()")
    client = serve(page=page, tokens=("a-long-token",))
    assert "the page" in client.get("/", headers={"Accept": "text/html,*/*;q=0.8"}).text
    assert client.get("/assets/app.js").text == "run()"
    assert client.get("/").json()["title"] == "refersat"
    assert client.get("/?f=html").headers["content-type"].startswith("text/html")
    problem(client.get("/assets/missing.js"), 404)


def test_the_server_says_what_it_is(client: TestClient) -> None:
    about = client.get("/v1/about").json()
    assert (about["model"], about["token_required"]) == ("fake", False)
    assert about["threshold"] == 0.5
    assert about["examples"]
    assert about["limits"]["phrases"] == 16
    client.post("/v1/segment", data={"scene": "photo", "phrases": "a"})
    shown = client.get("/metrics").text
    assert 'refersat_http_requests_total{method="POST",route="/v1/segment",status="200"} 1.0' in shown
    client.get("/v1/scenes/photo")
    assert 'route="/v1/scenes/{scene}",status="200"' in client.get("/metrics").text
    assert 'refersat_questions_total{kind="waiting"} 1.0' in shown
    assert "process_resident_memory_bytes" in shown


def test_a_server_whose_model_is_gone_says_so(client: TestClient) -> None:
    client.app.state.service.worker.stop()  # type: ignore[attr-defined]
    response = client.get("/health")
    assert (response.status_code, response.json()["status"]) == (503, "failing")
    assert "stopped" in problem(client.post("/v1/segment", data={"scene": "photo", "phrases": "a"}), 503)
