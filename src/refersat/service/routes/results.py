"""Results that were kept, and their files."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from refersat.service.catalog import Entry
from refersat.service.display import grey_tile
from refersat.service.documents import result_document
from refersat.service.parts import Service
from refersat.service.problems import Problem, problems
from refersat.service.records import ResultRecord
from refersat.service.results import Made, overlay_size
from refersat.service.routes.scenes import A_PNG, CACHED, PNG, Here, Index, Side, Tenant, Zoom
from refersat.service.schemas import ResultDocument

GEOJSON = "application/geo+json"
GEOPACKAGE = "application/geopackage+sqlite3"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"

ResultId = Annotated[str, InPath(max_length=100)]
Number = Annotated[int, InPath(ge=1, le=1000, description="Which phrase, from 1.")]
Threshold = Annotated[
    float | None, Query(ge=0, le=1, description="Another threshold than the result's; nothing is asked again.")
]

router = APIRouter(prefix="/v1/results/{result}", tags=["results"])


def _file(media_type: str) -> dict[int | str, dict[str, Any]]:
    binary = {"type": "string", "format": "binary"}
    content = {media_type: {"schema": {"type": "object"} if media_type.endswith("json") else binary}}
    return {200: {"content": content, "description": "A file."}, **problems(404)}


@router.get("", responses=problems(404))
def get_result(request: Request, service: Here, tenant: Tenant, result: ResultId) -> ResultDocument:
    """A result that was kept, or a finished job's."""
    return result_document(service.results.find(result, tenant), request.scope.get("root_path", ""))


@router.delete("", status_code=204, responses=problems(404))
def delete_result(service: Here, tenant: Tenant, result: ResultId) -> Response:
    """Delete a result; a job's is deleted by dismissing the job."""
    service.results.find(result, tenant)
    if service.store.job(result) is not None:
        raise Problem(403, f"{result} is a job's result: DELETE /jobs/{result} deletes both")
    service.results.drop(result)
    return Response(status_code=204)


@router.get("/polygons.geojson", response_class=Response, responses=_file(GEOJSON))
def get_geojson(service: Here, tenant: Tenant, result: ResultId, threshold: Threshold = None) -> Response:
    """The objects of all phrases, in longitude and latitude; in pixels for plain images."""
    return _polygons(service, tenant, result, "geojson", None, threshold)


@router.get("/polygons.gpkg", response_class=Response, responses=_file(GEOPACKAGE))
def get_geopackage(service: Here, tenant: Tenant, result: ResultId, threshold: Threshold = None) -> Response:
    """The objects of all phrases, in the scene's CRS."""
    return _polygons(service, tenant, result, "gpkg", None, threshold)


@router.get("/{number}/polygons.geojson", response_class=Response, responses=_file(GEOJSON))
def get_phrase_geojson(
    service: Here, tenant: Tenant, result: ResultId, number: Number, threshold: Threshold = None
) -> Response:
    """The objects of one phrase, in longitude and latitude; in pixels for plain images."""
    return _polygons(service, tenant, result, "geojson", number, threshold)


@router.get("/{number}/polygons.gpkg", response_class=Response, responses=_file(GEOPACKAGE))
def get_phrase_geopackage(
    service: Here, tenant: Tenant, result: ResultId, number: Number, threshold: Threshold = None
) -> Response:
    """The objects of one phrase, in the scene's CRS."""
    return _polygons(service, tenant, result, "gpkg", number, threshold)


@router.get("/{number}/mask.tif", response_class=Response, responses=_file("image/tiff"))
def get_mask(service: Here, tenant: Tenant, result: ResultId, number: Number, threshold: Threshold = None) -> Response:
    """The mask of one phrase: a Cloud Optimized GeoTIFF, 255 on the target, else 0."""
    record = service.results.find(result, tenant)
    made = service.results.mask(record, number, threshold)
    return _sent(made, f"{record.stem}-{number}.tif", COG)


@router.get("/{number}/overlay.png", response_class=Response, responses=_file(PNG))
def get_overlay(
    service: Here, tenant: Tenant, result: ResultId, number: Number, threshold: Threshold = None
) -> Response:
    """The image with the mask of one phrase and a caption; at most 2048 pixels wide or high."""
    record = service.results.find(result, tenant)
    service.results.answer(record, number)
    image = service.display.pixels(_scene_of(record, service, tenant), overlay_size(record))
    content = service.results.overlay(record, number, threshold, image)
    return Response(content, media_type=PNG, headers=_attached(f"{record.stem}-{number}.overlay.png"))


@router.get("/{number}/probability.png", response_class=Response, responses={**A_PNG, **problems(404)})
def get_probability(service: Here, tenant: Tenant, result: ResultId, number: Number, side: Side = None) -> Response:
    """255 times the probability of one phrase, grey, at the image's size; reduced where larger than `side`."""
    record = service.results.find(result, tenant)
    content = service.results.probability(record, number, side, service.settings.limits.segment_pixels)
    return Response(content, media_type=PNG, headers=CACHED)


@router.get("/{number}/probability/{z}/{x}/{y}.png", response_class=Response, responses={**A_PNG, **problems(404)})
def get_probability_tile(
    service: Here, tenant: Tenant, result: ResultId, number: Number, z: Zoom, x: Index, y: Index
) -> Response:
    """The same as map tiles (XYZ, Web Mercator, 256 pixels, grey with alpha)."""
    record = service.results.find(result, tenant)
    if record.kind != "map":
        raise Problem(404, f"{record.name} has no place on a map: take probability.png")
    content = grey_tile(str(service.results.probability_file(record, number)), z, x, y)
    return Response(content, media_type=PNG, headers=CACHED)


def _polygons(
    service: Service, tenant: str, result: str, kind: str, number: int | None, threshold: float | None
) -> Response:
    record = service.results.find(result, tenant)
    made = service.results.polygons(record, kind, number, threshold)
    name = record.stem if number is None else f"{record.stem}-{number}"
    return _sent(made, f"{name}.{kind}", GEOJSON if kind == "geojson" else GEOPACKAGE)


def _scene_of(record: ResultRecord, service: Service, tenant: str) -> Entry:
    if record.scene is None:
        raise Problem(404, f"the image of {record.id} was not kept")
    return service.catalog.find(record.scene, tenant)


def _sent(made: Made, name: str, media_type: str) -> Response:
    return FileResponse(
        made.path, media_type=media_type, headers=_attached(name), background=BackgroundTask(made.remove)
    )


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
