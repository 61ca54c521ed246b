"""What is known, as the documents that the API answers with."""

from __future__ import annotations

from collections.abc import Sequence

from refersat.scene.options import DEFAULT_TILE
from refersat.service.catalog import Entry
from refersat.service.display import Facts
from refersat.service.records import ResultRecord
from refersat.service.schemas import (
    Answer,
    AnswerLinks,
    AnswerOutputs,
    Link,
    ResultDocument,
    ResultLinks,
    SceneDocument,
    StatusInfo,
)
from refersat.service.settings import Limits
from refersat.service.store import Job

PROCESS = "segment"
_AT_ONCE = 2 * DEFAULT_TILE  # pixels of the longer side: above, tiles show the model much more than the whole does
_RESULTS = "http://www.opengis.net/def/rel/ogc/1.0/results"
_JOB_LIST = "http://www.opengis.net/def/rel/ogc/1.0/job-list"


def scene_document(entry: Entry, facts: Facts, limits: Limits, root: str) -> SceneDocument:
    """A scene; `root` is the prefix of addresses."""
    here = f"{root}/v1/scenes/{entry.id}"
    on_map = facts.bounds is not None and facts.zooms is not None
    small = max(facts.width, facts.height) <= _AT_ONCE and facts.width * facts.height <= limits.segment_pixels
    return SceneDocument(
        id=entry.id,
        name=entry.name,
        uploaded=entry.uploaded,
        kind="map" if on_map else "picture",
        width=facts.width,
        height=facts.height,
        bands=facts.bands,
        dtype=facts.dtype,
        crs=facts.crs,
        gsd=facts.gsd,
        bounds=facts.bounds,
        tiles=f"{here}/tiles/{{z}}/{{x}}/{{y}}.png" if on_map else None,
        minzoom=facts.zooms[0] if facts.zooms else None,
        maxzoom=facts.zooms[1] if facts.zooms else None,
        picture=f"{here}/picture.png",
        run="segment" if small and not entry.remote else "job",
        created=entry.created,
    )


def result_document(
    record: ResultRecord, root: str, *, outputs: Sequence[AnswerOutputs] | None = None, kept: bool = True
) -> ResultDocument:
    """A result, with links where it is kept."""
    here = f"{root}/v1/results/{record.id}"
    answers = []
    for number, one in enumerate(record.answers, start=1):
        below = f"{here}/{number}"
        files = AnswerLinks(
            geojson=f"{below}/polygons.geojson",
            gpkg=f"{below}/polygons.gpkg",
            mask=f"{below}/mask.tif",
            overlay=f"{below}/overlay.png",
            probability=f"{below}/probability.png",
            probability_tiles=f"{below}/probability/{{z}}/{{x}}/{{y}}.png" if record.kind == "map" else None,
        )
        answers.append(
            Answer(
                number=number,
                phrase=one.phrase,
                found=one.found,
                score=one.score,
                objects=one.objects,
                area=one.area,
                area_unit="m2" if one.area_unit == "m2" else "px",
                pixels=one.pixels,
                bounds=one.bounds,
                links=files if kept else None,
                outputs=outputs[number - 1] if outputs else AnswerOutputs(),
            )
        )
    links = ResultLinks(geojson=f"{here}/polygons.geojson", gpkg=f"{here}/polygons.gpkg") if kept else None
    shared = record.model_dump(include=set(ResultDocument.model_fields) - {"answers", "links"})
    return ResultDocument(**shared, links=links, answers=answers)


def status_document(job: Job, root: str) -> StatusInfo:
    """How a job stands."""
    here = f"{root}/jobs/{job.id}"
    links = [
        Link(href=here, rel="self", type="application/json", title="this document"),
        Link(href=f"{root}/jobs", rel=_JOB_LIST, type="application/json", title="all jobs"),
    ]
    if job.status == "successful":
        links.append(Link(href=f"{here}/results", rel=_RESULTS, type="application/json", title="what was found"))
    return StatusInfo(
        jobID=job.id,
        processID=PROCESS,
        status=job.status,
        message=job.message,
        progress=job.progress,
        created=job.created,
        updated=job.updated,
        started=job.started,
        finished=job.finished,
        inputs=dict(job.inputs),
        links=links,
    )
