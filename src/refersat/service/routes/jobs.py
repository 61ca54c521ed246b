"""OGC API - Processes: jobs, how they stand, what they found, and ending them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath

from refersat.service.documents import result_document, status_document
from refersat.service.parts import Service
from refersat.service.problems import NO_SUCH_JOB, RESULT_NOT_READY, Problem, problems
from refersat.service.routes.results import COG, GEOJSON, GEOPACKAGE
from refersat.service.routes.scenes import Here, Tenant
from refersat.service.schemas import (
    JobList,
    JobResults,
    JobStatus,
    Link,
    QualifiedLinks,
    QualifiedResult,
    StatusInfo,
)
from refersat.service.store import Job

JobId = Annotated[str, InPath(max_length=100)]
Limit = Annotated[int, Query(ge=1, le=10_000)]

router = APIRouter(prefix="/jobs", tags=["OGC API - Processes"])


@router.get("", responses=problems())
def list_jobs(
    request: Request,
    service: Here,
    tenant: Tenant,
    limit: Limit = 100,
    status: Annotated[list[JobStatus] | None, Query(description="Only such; repeat it for several.")] = None,
) -> JobList:
    """Your jobs, newest first."""
    root = request.scope.get("root_path", "")
    jobs = service.store.jobs(tenant=tenant, status=status or (), limit=limit)
    me = Link(href=f"{root}/jobs", rel="self", type="application/json", title="this document")
    return JobList(jobs=[status_document(job, root) for job in jobs], links=[me])


@router.get("/{job}", responses=problems(404))
def get_status(request: Request, service: Here, tenant: Tenant, job: JobId) -> StatusInfo:
    """How a job stands."""
    return status_document(_find(service, job, tenant), request.scope.get("root_path", ""))


@router.delete("/{job}", responses=problems(404))
def dismiss(request: Request, service: Here, tenant: Tenant, job: JobId) -> StatusInfo:
    """Cancel a job, or delete the result of one that has ended."""
    service.runner.dismiss(_find(service, job, tenant))
    return status_document(_find(service, job, tenant), request.scope.get("root_path", ""))


@router.get("/{job}/results", responses=problems(404, 409, 410))
def get_results(request: Request, service: Here, tenant: Tenant, job: JobId) -> JobResults:
    """What a successful job found."""
    found = _find(service, job, tenant)
    if found.status == "dismissed":
        raise Problem(410, f"job {job} was dismissed: {found.message}", kind=NO_SUCH_JOB)
    if found.status == "failed":
        raise Problem(409, f"job {job} failed: {found.message}")
    if found.status != "successful":
        raise Problem(409, f"job {job} is not done: it is at {found.progress} %", kind=RESULT_NOT_READY)
    document = result_document(service.results.find(job, tenant), request.scope.get("root_path", ""))
    assert document.links is not None
    masks = [Link(href=one.links.mask, type=COG, title=one.phrase) for one in document.answers if one.links is not None]
    return JobResults(
        result=QualifiedResult(value=document),
        polygons=Link(href=document.links.geojson, type=GEOJSON, title="polygons of all phrases"),
        geopackage=Link(href=document.links.gpkg, type=GEOPACKAGE, title="polygons of all phrases"),
        masks=QualifiedLinks(value=masks),
    )


def _find(service: Service, identifier: str, tenant: str) -> Job:
    job = service.store.job(identifier)
    if job is None or job.tenant != tenant:
        raise Problem(404, f"there is no job {identifier!r}", kind=NO_SUCH_JOB)
    return job
