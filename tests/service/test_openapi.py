"""The OpenAPI document tells the truth: what it allows is answered as it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from refersat.segmenter import Segmenter
from refersat.service.app import create_app
from refersat.service.settings import Limits, Settings
from tests.service.conftest import connect

STATUSES = {"200", "201", "204"}
PHASES = (Phase.generate,)
UNLIKELY = {
    *(f"DELETE {path}" for path in ("/v1/results/{result}", "/v1/scenes/{scene}", "/jobs/{job}")),
    *(f"POST {path}" for path in ("/v1/scenes", "/v1/scenes/remote", "/v1/segment", "/processes/{process}/execution")),
    "GET /jobs/{job}/results",
}
"""What needs an image, a permission, or time to succeed."""


def test_the_document_is_complete(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    ours = {"/v1/segment", "/v1/scenes", "/v1/results/{result}", "/health", "/metrics", "/v1/about"}
    ogc = {"/", "/conformance", "/processes", "/processes/{process}", "/processes/{process}/execution"}
    jobs = {"/jobs", "/jobs/{job}", "/jobs/{job}/results"}
    assert ours | ogc | jobs <= set(paths)
    for path in paths.values():
        for operation in path.values():
            assert operation["description"] or operation["summary"]
            assert "422" not in operation["responses"]
            assert STATUSES & set(operation["responses"])
            for status, response in operation["responses"].items():
                if status not in STATUSES and status != "503":
                    assert set(response["content"]) == {"application/problem+json"}
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


@pytest.mark.slow
def test_whatever_the_document_allows_is_answered_as_it_says(
    geotiff: Path, photo: Path, tmp_path: Path, make_segmenter: Callable[..., Segmenter]
) -> None:
    chosen = Settings(scenes=(str(geotiff), str(photo)), data=tmp_path / "data", limits=Limits(jobs=3))
    app = create_app(chosen, make_segmenter())
    with connect(app) as client:
        made = client.post("/v1/segment", data={"scene": "scene", "phrases": "a", "keep": "true"}).json()["id"]
        job = client.post("/processes/segment/execution", json={"inputs": {"scene": "scene", "phrases": ["a"]}}).json()
        known = {"result": made, "job": job["jobID"], "scene": "scene", "process": "segment", "number": 1}
        document = schemathesis.openapi.from_asgi("/openapi.json", running(app))
        statuses: dict[str, set[int]] = {}
        for found in document.get_all_operations():
            operation = found.ok()
            names = {name for name in known if f"{{{name}}}" in operation.path and operation.method != "delete"}
            for some in (names, set()):  # about what there is, and about anything
                ask(operation, {name: known[name] for name in some}, statuses)
    never = {label for label, seen in statuses.items() if not seen & {200, 201, 204}}
    assert never <= UNLIKELY
    asked = {f"{method.upper()} {path}" for path, item in app.openapi()["paths"].items() for method in item}
    assert set(statuses) == asked  # every operation there is


def running(app: Any) -> Any:
    """An application that was started already, for a client that would start it again, and by another name."""

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
        headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
        here = {"headers": [*headers, (b"host", b"127.0.0.1")], "client": ("127.0.0.1", 50000)}
        await app({**scope, **here}, receive, send)

    return answering


def ask(operation: Any, parameters: dict[str, Any], statuses: dict[str, set[int]]) -> None:
    # A document can ask for a file and a scene, and not for a good one: others are refused, as they should be.
    excluded = [positive_data_acceptance] if operation.label in UNLIKELY else []

    @settings(
        max_examples=5,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=PHASES,
        derandomize=True,
    )
    @given(case=operation.as_strategy(path_parameters=parameters or None))
    def one(case: Any) -> None:
        response = case.call()
        case.validate_response(response, excluded_checks=excluded)
        assert response.status_code != 500
        statuses.setdefault(operation.label, set()).add(response.status_code)

    one()
