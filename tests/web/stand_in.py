"""A service in the browser's own network layer: it answers as the real one does, when and how a test wants it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import PIL.Image

if TYPE_CHECKING:
    from playwright.sync_api import Request, Route

ADDRESS = "http://page.test/"
PAGE = Path(__file__).resolve().parents[2] / "src" / "refersat" / "service" / "page"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; child-src blob:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
WIDTH, HEIGHT = 320, 200
ABSENT = "unicorn"  # phrases with this word find nothing
BOUNDS = [120.98, 14.58, 120.99, 14.59]

PICTURE = {
    "id": "ships", "name": "ships.jpg", "uploaded": False, "kind": "picture", "width": WIDTH, "height": HEIGHT,
    "bands": 3, "dtype": "uint8", "crs": None, "gsd": None, "bounds": None, "tiles": None, "minzoom": None,
    "maxzoom": None, "picture": "/v1/scenes/ships/picture.png", "run": "segment",
}  # fmt: skip
MAP = {
    **PICTURE, "id": "harbour", "name": "harbour.tif", "kind": "map", "crs": "EPSG:4326", "gsd": 0.3, "bounds": BOUNDS,
    "tiles": "/v1/scenes/harbour/tiles/{z}/{x}/{y}.png", "minzoom": 14, "maxzoom": 19,
    "picture": "/v1/scenes/harbour/picture.png", "run": "job",
}  # fmt: skip


def probability() -> np.ndarray:
    """Uint8 (HEIGHT, WIDTH): a hill, 255 in the middle, so that a higher threshold leaves a smaller disc."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(rows - HEIGHT / 2, columns - WIDTH / 2)
    return np.clip(255 * (1 - distance / 100), 0, 255).round().astype(np.uint8)


def area_at(threshold: float) -> int:
    return int((probability() > 255 * threshold).sum())


@dataclass
class StandIn:
    """What it does next, and what it was asked."""

    scenes: list[dict[str, Any]] = field(default_factory=lambda: [PICTURE, MAP])
    token: str | None = None
    problems: dict[str, tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=dict)
    """By method and path, "POST /v1/segment": status, body and headers of the next answer; then it works."""
    steps: list[tuple[str, int]] = field(
        default_factory=lambda: [("running", 30), ("running", 70), ("successful", 100)]
    )
    """Status and progress of an accepted job, one for each time that the page looks; the last one stays."""
    held: bool = False
    """Whether POST /v1/segment never answers."""
    asked: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, route: Route) -> None:
        request = route.request
        where = urlsplit(request.url)
        assert request.url.startswith((ADDRESS, "blob:", "data:")), f"the page asks for {request.url}"
        call = f"{request.method} {where.path}"
        self.asked.append(call)
        api = where.path.startswith(("/v1/", "/jobs", "/processes"))
        if (
            api
            and self.token
            and where.path != "/v1/about"
            and request.headers.get("authorization") != f"Bearer {self.token}"
        ):
            _problem(route, 401, {"title": "No Token", "detail": "This server wants a token."})
        elif call in self.problems:
            status, body, headers = self.problems.pop(call)
            _problem(route, status, body, headers)
        elif api:
            self._api(route, request, where.path, {key: values[0] for key, values in parse_qs(where.query).items()})
        else:
            self._file(route, where.path)

    def _file(self, route: Route, path: str) -> None:
        file = PAGE / (path.lstrip("/") or "index.html")
        if not file.is_file():
            route.fulfill(status=404)
            return
        headers = {"Content-Security-Policy": CSP, "Content-Type": TYPES.get(file.suffix, "application/octet-stream")}
        route.fulfill(body=file.read_bytes(), headers=headers)

    def _api(self, route: Route, request: Request, path: str, query: dict[str, str]) -> None:
        call = f"{request.method} {path}"
        threshold = float(query.get("threshold", 0.5))
        if path == "/v1/about":
            route.fulfill(json=self._about())
        elif call == "GET /v1/scenes":
            route.fulfill(json={"scenes": self.scenes})
        elif call == "POST /v1/scenes":
            route.fulfill(status=201, json={**PICTURE, "id": "u-1", "name": "mine.png", "uploaded": True})
        elif call == "POST /v1/segment":
            if not self.held:
                route.fulfill(json=self._result("r-1", PICTURE, _fields(request, "phrases")))
        elif path == "/processes/segment/execution":
            inputs = request.post_data_json["inputs"]
            self.jobs["j-1"] = {"inputs": inputs, "steps": [("accepted", 0), *self.steps]}
            route.fulfill(status=201, json=self._status("j-1"))
        elif path.startswith("/jobs/"):
            self._job(route, request, path.split("/")[2])
        elif match := re.fullmatch(r"/v1/results/([^/]+)", path):
            found = self.results.get(match[1])
            route.fulfill(json=found) if found else _problem(route, 404, {"detail": "No such result."})
        elif path.endswith("polygons.geojson"):
            route.fulfill(
                json=_polygons(threshold, self._area_m2(path, threshold)), headers=_attachment("polygons.geojson")
            )
        elif path.endswith(("overlay.png", "mask.tif", "polygons.gpkg")):
            route.fulfill(body=path.encode(), headers=_attachment(path.rsplit("/", 1)[1]))
        elif "/probability/" in path or "/tiles/" in path:
            grey = np.full((256, 256), 200 if "/probability/" in path else 60, np.uint8)
            route.fulfill(body=_png(grey), content_type="image/png")
        elif path.endswith("probability.png"):
            route.fulfill(body=_png(probability()), content_type="image/png")
        elif path.endswith("picture.png"):
            route.fulfill(body=_png(np.full((HEIGHT, WIDTH), 60, np.uint8)), content_type="image/png")
        else:
            _problem(route, 404, {"detail": f"Nothing at {path}."})

    def _about(self) -> dict[str, Any]:
        limits = {"upload_bytes": 1_000_000, "pixels": 10**8, "segment_pixels": 10**7, "phrases": 4}
        return {
            "version": "0", "model": "stand-in", "summary": "Answers at once.", "notes": ["Knows a hill."],
            "licence": None, "threshold": 0.5, "token_required": self.token is not None,
            "examples": ["the hill", "all ships"], "limits": limits,
        }  # fmt: skip

    def _job(self, route: Route, request: Request, job: str) -> None:
        steps = self.jobs[job]["steps"]
        if request.method == "DELETE":
            steps[:] = [("dismissed", 0)]
        elif len(steps) > 1:
            steps.pop(0)
        status = self._status(job)
        if status["status"] == "successful":
            inputs = self.jobs[job]["inputs"]
            self._result(job, MAP, inputs["phrases"])
        route.fulfill(json=status)

    def _area_m2(self, path: str, threshold: float) -> float | None:
        scene = self.results[path.split("/")[3]]["kind"]
        return float(area_at(threshold)) if scene == "map" else None

    def _status(self, job: str) -> dict[str, Any]:
        status, progress = self.jobs[job]["steps"][0]
        message = "The model fell over." if status == "failed" else f"looking: {progress} of 100 steps"
        return {
            "jobID": job,
            "status": status,
            "progress": progress,
            "message": message,
            "inputs": self.jobs[job]["inputs"],
        }

    def _result(self, name: str, scene: dict[str, Any], phrases: list[str]) -> dict[str, Any]:
        name = f"{name}-{len(self.results)}" if name.startswith("r") else name
        answers = [_answer(f"/v1/results/{name}/{i}", i, phrase, scene) for i, phrase in enumerate(phrases, 1)]
        self.results[name] = {
            "id": name, "scene": scene["id"], "kind": scene["kind"], "model": "stand-in", "threshold": 0.5,
            "area": None, "messages": [], "answers": answers, "links": {},
        }  # fmt: skip
        return self.results[name]


def _answer(base: str, number: int, phrase: str, scene: dict[str, Any]) -> dict[str, Any]:
    found, ground = ABSENT not in phrase, scene["kind"] == "map"
    files = {"geojson": "polygons.geojson", "gpkg": "polygons.gpkg", "mask": "mask.tif", "overlay": "overlay.png"}
    links = {key: f"{base}/{file}" for key, file in files.items()} | {"probability": f"{base}/probability.png"}
    links["probability_tiles"] = f"{base}/probability/{{z}}/{{x}}/{{y}}.png" if ground else None
    bounds = (BOUNDS if ground else [110, 50, 210, 150]) if found else None
    return {
        "number": number, "phrase": phrase, "found": found, "score": 0.97 if found else 0.02, "objects": int(found),
        "area": area_at(0.5) if found else 0, "area_unit": "m2" if ground else "px", "bounds": bounds, "links": links,
    }  # fmt: skip


def _polygons(threshold: float, area: float | None) -> dict[str, Any]:
    """One square of the right area; several objects would only be more of the same."""
    half = 100 * (1 - threshold) * 0.88
    (x, y), properties = (WIDTH / 2, HEIGHT / 2), {"score": 0.97, "area_m2": area, "instance": 1}
    ring = [
        [x - half, y - half],
        [x + half, y - half],
        [x + half, y + half],
        [x - half, y + half],
        [x - half, y - half],
    ]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"phrase": "the hill", **properties}, "geometry": geometry}
    return {"type": "FeatureCollection", "features": [feature]}


def _fields(request: Request, name: str) -> list[str]:
    body = (request.post_data_buffer or b"").decode("utf-8", "replace")
    return re.findall(rf'name="{name}"\r\n\r\n(.*?)\r\n', body)


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _png(grey: np.ndarray) -> bytes:
    buffer = BytesIO()
    PIL.Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()


def _problem(route: Route, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
    route.fulfill(
        status=status,
        body=json.dumps({"status": status, **body}),
        headers={"Content-Type": "application/problem+json", **(headers or {})},
    )
