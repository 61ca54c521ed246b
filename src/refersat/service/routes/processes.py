"""OGC API - Processes: what can be run, and running it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi import Path as InPath

from refersat import __version__
from refersat.question import check_phrase
from refersat.scene.options import SceneOptions
from refersat.service.areas import read_geometry
from refersat.service.catalog import require_file
from refersat.service.display import Facts
from refersat.service.documents import PROCESS, status_document
from refersat.service.problems import NO_SUCH_PROCESS, Problem, busy, problems
from refersat.service.routes.scenes import Here, Tenant
from refersat.service.schemas import Execute, Link, Process, ProcessList, ProcessSummary, QualifiedArea, StatusInfo

_RETRY = 30.0
_MOST_TILES = 200_000

ProcessId = Annotated[str, InPath(max_length=200, examples=[PROCESS])]

router = APIRouter(prefix="/processes", tags=["OGC API - Processes"])


@router.get("", responses=problems())
def list_processes(request: Request) -> ProcessList:
    """The one process."""
    root = request.scope.get("root_path", "")
    me = Link(href=f"{root}/processes", rel="self", type="application/json", title="this document")
    return ProcessList(processes=[ProcessSummary(**_summary(root))], links=[me])


@router.get("/{process}", responses=problems(404))
def describe_process(request: Request, service: Here, process: ProcessId) -> Process:
    """Its inputs and outputs."""
    _require_known(process)
    return Process(
        **_summary(request.scope.get("root_path", "")),
        inputs=_inputs(service.settings.limits.phrases),
        outputs=_OUTPUTS,
    )


@router.post(
    "/{process}/execution",
    status_code=201,
    responses={
        201: {"headers": {"Location": {"description": "The job.", "schema": {"type": "string"}}}},
        **problems(404, 503, 507),
    },
)
def execute(
    request: Request,
    response: Response,
    service: Here,
    tenant: Tenant,
    process: ProcessId,
    asked: Execute,
    prefer: Annotated[str | None, Header(description="respond-async; jobs are never run otherwise.")] = None,
) -> StatusInfo:
    """Find phrases in a scene of any size, as a job."""
    _require_known(process)
    inputs, limits = asked.inputs, service.settings.limits
    if len(inputs.phrases) > limits.phrases:
        raise Problem(400, f"{len(inputs.phrases)} phrases at once are more than {limits.phrases}: make several jobs")
    area = inputs.area.value if isinstance(inputs.area, QualifiedArea) else inputs.area
    if area is not None:
        read_geometry(area)
    plain = inputs.model_dump() | {"phrases": [check_phrase(phrase) for phrase in inputs.phrases], "area": area}
    options = SceneOptions(strategy=inputs.strategy, tile=inputs.tile, overlap=inputs.overlap, gsd=inputs.gsd)
    entry = service.catalog.find(inputs.scene, tenant)
    require_file(entry)
    _require_few_tiles(service.display.facts(entry), options)
    service.disk.require_room()
    waiting = service.store.jobs(status=("accepted",))
    if len(waiting) >= limits.jobs:
        raise busy("too many jobs wait: ask again later", _RETRY)
    if sum(job.tenant == tenant for job in waiting) >= limits.of_one(limits.jobs):
        raise busy("too many of your own jobs wait: let some be done, or dismiss them", _RETRY)
    job = service.store.add_job(tenant, plain)
    service.runner.wake()
    root = request.scope.get("root_path", "")
    response.headers["Location"] = f"{root}/jobs/{job.id}"
    if prefer is not None and "respond-async" in prefer:
        response.headers["Preference-Applied"] = "respond-async"
    return status_document(job, root)


def _require_few_tiles(facts: Facts, options: SceneOptions) -> None:
    """Refuse what would not end: tiny tiles, or a scene blown up."""
    finer = facts.gsd / options.gsd if facts.gsd is not None and options.gsd is not None else 1.0
    step = options.tile * (1 - options.overlap)
    tiles = max(1.0, facts.width * finer / step) * max(1.0, facts.height * finer / step)
    if tiles > _MOST_TILES:
        raise Problem(
            400, f"these are more than {_MOST_TILES:,} tiles: choose a larger tile, less overlap or a coarser gsd"
        )


def _require_known(process: str) -> None:
    if process != PROCESS:
        raise Problem(404, f"there is no process {process!r}: the one here is {PROCESS!r}", kind=NO_SUCH_PROCESS)


def _summary(root: str) -> dict[str, object]:
    here = f"{root}/processes/{PROCESS}"
    return {
        "id": PROCESS,
        "version": __version__,
        "title": "Segment a scene by phrases",
        "description": "Finds what English phrases name in a scene of any size: masks, probabilities and polygons.",
        "keywords": ["remote sensing", "referring segmentation"],
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value", "reference"],
        "links": [
            Link(href=here, rel="self", type="application/json", title="the process"),
            Link(
                href=f"{here}/execution",
                rel="http://www.opengis.net/def/rel/ogc/1.0/execute",
                type="application/json",
                title="run it",
            ),
        ],
    }


def _inputs(phrases: int) -> dict[str, object]:
    positive = {"type": "number", "exclusiveMinimum": 0}
    return {
        "scene": {
            "title": "Scene",
            "description": "The id of a scene; GET /v1/scenes lists them.",
            "schema": {"type": "string"},
        },
        "phrases": {
            "title": "Phrases",
            "description": "What to find, in English.",
            "minOccurs": 1,
            "maxOccurs": 1,
            "schema": {"type": "array", "minItems": 1, "maxItems": phrases, "items": {"type": "string"}},
        },
        "area": {
            "title": "Area of interest",
            "description": "Only look there: a polygon in longitude and latitude; in pixels for plain images.",
            "minOccurs": 0,
            "schema": {
                "type": "object",
                "format": "geojson-geometry",
                "contentMediaType": "application/geo+json",
            },
        },
        "strategy": {
            "title": "Strategy",
            "description": "How to look; auto chooses by phrases and size.",
            "minOccurs": 0,
            "schema": {"type": "string", "enum": ["auto", "whole", "tile", "coarse-to-fine"], "default": "auto"},
        },
        "tile": {
            "title": "Tile",
            "description": "Side of a tile in pixels.",
            "minOccurs": 0,
            "schema": {"type": "integer", "minimum": 16, "maximum": 8192, "default": 800},
        },
        "overlap": {
            "title": "Overlap",
            "description": "Share of a tile that its neighbour sees, too.",
            "minOccurs": 0,
            "schema": {"type": "number", "minimum": 0, "maximum": 0.9, "default": 0.25},
        },
        "gsd": {
            "title": "Resolution",
            "description": "Metres per pixel at which the model works.",
            "minOccurs": 0,
            "schema": positive,
        },
        "threshold": {
            "title": "Threshold",
            "description": "A pixel is foreground above this probability; the model's own rule by default.",
            "minOccurs": 0,
            "schema": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "min_area": {
            "title": "Least area",
            "description": "Objects below so many square metres are left out.",
            "minOccurs": 0,
            "schema": {"type": "number", "minimum": 0, "default": 0},
        },
    }


def _linked(media_type: str) -> dict[str, str]:
    return {"type": "string", "contentMediaType": media_type, "contentEncoding": "binary"}


_OUTPUTS: dict[str, object] = {
    "result": {
        "title": "Result",
        "description": "What was found, phrase by phrase, with links to all files.",
        "schema": {"type": "object", "contentMediaType": "application/json"},
    },
    "polygons": {"title": "Polygons (GeoJSON)", "schema": _linked("application/geo+json")},
    "geopackage": {"title": "Polygons (GeoPackage)", "schema": _linked("application/geopackage+sqlite3")},
    "masks": {
        "title": "Masks",
        "description": "Links to Cloud Optimized GeoTIFFs, in the order of the phrases.",
        "schema": {"type": "array", "items": {"type": "object"}},
    },
}
