"""The documents of the API, as OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from refersat.question import MAX_PHRASE_CHARACTERS
from refersat.scene.options import DEFAULT_TILE

Kind = Literal["map", "picture"]
Bounds = Annotated[
    tuple[float, float, float, float],
    # As every reader of schemas understands it; what pydantic says by itself, newer ones do.
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}),
]
Geometry = dict[str, Any]
Phrase = Annotated[str, Field(min_length=1, max_length=MAX_PHRASE_CHARACTERS)]


class SceneDocument(BaseModel):
    """An image that may be asked about."""

    id: str
    name: str
    uploaded: bool = Field(description="Whether a user brought it.")
    kind: Kind = Field(description="`map`: it has a place on a web map; `picture`: it is shown by itself.")
    width: int
    height: int
    bands: int
    dtype: str
    crs: str | None
    gsd: float | None = Field(description="Metres per pixel.")
    bounds: Bounds | None = Field(description="West, south, east, north in degrees.")
    tiles: str | None = Field(description="Template of map tiles (XYZ, Web Mercator, 256 pixels, PNG).")
    minzoom: int | None
    maxzoom: int | None
    picture: str = Field(description="The whole image as a PNG; ?side=N reduces it.")
    run: Literal["segment", "job"] = Field(description="How to ask about all of it.")
    created: str


class SceneList(BaseModel):
    """All that may be asked about."""

    scenes: list[SceneDocument]


class RemoteScene(BaseModel):
    """An image in the web."""

    model_config = ConfigDict(extra="forbid")
    address: str = Field(max_length=2000, examples=["https://example.org/harbour.tif"])


class ResultLinks(BaseModel):
    """Files of all phrases; each takes ?threshold=."""

    geojson: str
    gpkg: str


class AnswerLinks(BaseModel):
    """Files of one phrase; all but the probabilities take ?threshold=."""

    geojson: str
    gpkg: str
    mask: str
    overlay: str
    probability: str
    probability_tiles: str | None


class AnswerOutputs(BaseModel):
    """What `outputs` asked for."""

    polygons: dict[str, Any] | None = Field(None, description="A GeoJSON feature collection.")
    mask: str | None = Field(None, description="PNG in base64: 255 on the target, else 0.")
    probability: str | None = Field(None, description="PNG in base64: 255 times the probability.")
    overlay: str | None = Field(None, description="PNG in base64: the image with the mask on it.")


class Answer(BaseModel):
    """What one phrase names."""

    number: int
    phrase: str
    found: bool
    score: float
    objects: int
    area: float
    area_unit: Literal["m2", "px"]
    pixels: int
    bounds: Bounds | None = Field(description="In degrees, or in pixels for pictures; null when nothing was found.")
    links: AnswerLinks | None
    outputs: AnswerOutputs


class ResultDocument(BaseModel):
    """What was found."""

    id: str
    scene: str | None
    name: str
    kind: Kind
    model: str
    threshold: float
    width: int
    height: int
    seconds: float
    bounds: Bounds | None
    area: Geometry | None
    created: str
    messages: list[str]
    links: ResultLinks | None
    answers: list[Answer]


class LimitsDocument(BaseModel):
    """Bounds of this server."""

    upload_bytes: int
    pixels: int
    segment_pixels: int
    phrases: int
    timeout_s: float
    keep_days: float


class About(BaseModel):
    """What this server is."""

    version: str
    model: str
    summary: str
    notes: list[str]
    licence: str
    threshold: float
    token_required: bool
    examples: list[str]
    limits: LimitsDocument


class Health(BaseModel):
    """Whether it works."""

    status: Literal["ok", "failing"]
    model: str
    queue: int
    jobs: dict[str, int]


class Link(BaseModel):
    """OGC API - Processes, link.yaml."""

    href: str
    rel: str | None = None
    type: str | None = None
    title: str | None = None


class LandingPage(BaseModel):
    """OGC API - Processes, landingPage.yaml."""

    title: str
    description: str
    links: list[Link]


class Conformance(BaseModel):
    """OGC API - Processes, confClasses.yaml."""

    conformsTo: list[str]  # noqa: N815 - the standard's name


class ProcessSummary(BaseModel):
    """OGC API - Processes, processSummary.yaml."""

    id: str
    version: str
    title: str
    description: str
    keywords: list[str]
    jobControlOptions: list[str]  # noqa: N815
    outputTransmission: list[str]  # noqa: N815
    links: list[Link]


class ProcessList(BaseModel):
    """OGC API - Processes, processList.yaml."""

    processes: list[ProcessSummary]
    links: list[Link]


class Process(ProcessSummary):
    """OGC API - Processes, process.yaml."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]


class QualifiedArea(BaseModel):
    """A geometry, wrapped as OGC API - Processes wants it."""

    model_config = ConfigDict(extra="forbid")
    value: Geometry
    mediaType: str = "application/geo+json"  # noqa: N815


class SegmentInputs(BaseModel):
    """What a job is about."""

    model_config = ConfigDict(extra="forbid")
    scene: str = Field(max_length=200, description="The id of a scene.", examples=["cars"])
    phrases: list[Phrase] = Field(min_length=1, description="What to find.", examples=[["all vehicles"]])
    area: QualifiedArea | Geometry | None = Field(
        None, description="Only look there: a GeoJSON polygon, in degrees or, for pictures, in pixels."
    )
    strategy: Literal["auto", "whole", "tile", "coarse-to-fine"] = "auto"
    tile: int = Field(DEFAULT_TILE, ge=16, le=8192, description="Side of a tile in pixels.")
    overlap: float = Field(0.25, ge=0, le=0.9, description="Share of a tile that its neighbour sees, too.")
    gsd: float | None = Field(None, gt=0, lt=1e6, description="Metres per pixel at which the model works.")
    threshold: float | None = Field(None, ge=0, le=1, description="A pixel is foreground above this probability.")
    min_area: float = Field(0.0, ge=0, lt=1e12, description="Objects below so many square metres are left out.")


class Execute(BaseModel):
    """OGC API - Processes, execute.yaml. All outputs are always made, and told of as a document."""

    inputs: SegmentInputs
    outputs: dict[str, Any] | None = None
    response: Literal["document"] = "document"


JobStatus = Literal["accepted", "running", "successful", "failed", "dismissed"]


class StatusInfo(BaseModel):
    """OGC API - Processes, statusInfo.yaml, and the inputs."""

    jobID: str  # noqa: N815
    processID: str  # noqa: N815
    type: Literal["process"] = "process"
    status: JobStatus
    message: str
    progress: int = Field(ge=0, le=100)
    created: str
    updated: str
    started: str | None = None
    finished: str | None = None
    inputs: dict[str, Any]
    links: list[Link]


class JobList(BaseModel):
    """OGC API - Processes, jobList.yaml."""

    jobs: list[StatusInfo]
    links: list[Link]


class QualifiedResult(BaseModel):
    """A result as a value."""

    value: ResultDocument
    mediaType: str = "application/json"  # noqa: N815


class QualifiedLinks(BaseModel):
    """Files, in the order of the phrases."""

    value: list[Link]
    mediaType: str = "application/json"  # noqa: N815


class JobResults(BaseModel):
    """OGC API - Processes, results.yaml: the outputs that the process describes."""

    result: QualifiedResult
    polygons: Link
    geopackage: Link
    masks: QualifiedLinks
