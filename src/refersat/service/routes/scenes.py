"""Images that may be asked about: list, look at, bring, delete."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, File, Query, Request, Response, UploadFile
from fastapi import Path as InPath

from refersat.service.access import tenant_of
from refersat.service.catalog import Entry
from refersat.service.documents import scene_document
from refersat.service.parts import Service, service_of
from refersat.service.problems import Problem, problems
from refersat.service.schemas import RemoteScene, SceneDocument, SceneList

CACHED = {"Cache-Control": "private, max-age=3600"}
PNG = "image/png"

Here = Annotated[Service, Depends(service_of)]
Tenant = Annotated[str, Depends(tenant_of)]
SceneId = Annotated[str, InPath(max_length=300)]
Zoom = Annotated[int, InPath(ge=0, le=30)]
Index = Annotated[int, InPath(ge=0, lt=2**30)]
Side = Annotated[int | None, Query(ge=1, le=20_000, description="The longer side in pixels, at most.")]
A_PNG = {200: {"content": {PNG: {"schema": {"type": "string", "format": "binary"}}}, "description": "A PNG."}}

router = APIRouter(prefix="/v1/scenes", tags=["scenes"])
log = logging.getLogger(__name__)


@router.get("", responses=problems())
def list_scenes(request: Request, service: Here, tenant: Tenant) -> SceneList:
    """All that may be asked about: the server's, by name, then your uploads, newest first."""
    documents = []
    for entry in [*service.catalog.own(), *service.catalog.brought(tenant)]:
        try:
            documents.append(_document(entry, service, request))
        except Problem as problem:
            log.warning("left out of the list: %s", problem.detail)
    return SceneList(scenes=documents)


@router.post(
    "",
    status_code=201,
    responses=problems(408, 413, 415, 507),
    openapi_extra={"x-body-limit": "see /v1/about, limits.upload_bytes"},
)
def add_scene(
    request: Request, response: Response, service: Here, tenant: Tenant, file: Annotated[UploadFile, File()]
) -> SceneDocument:
    """Bring an image (PNG, JPEG, TIFF, JPEG 2000 or WebP); it then counts as a scene of yours."""
    service.disk.require_room()
    entry = keep_upload(service, file, tenant)
    return _created(entry, service, request, response)


@router.post("/remote", status_code=201, responses=problems(415, 507))
def add_remote_scene(
    request: Request, response: Response, service: Here, tenant: Tenant, remote: RemoteScene
) -> SceneDocument:
    """Name an image in the web, where the operator allows it; it is read as far as needed."""
    entry = service.catalog.take_address(remote.address, tenant)
    return _created(entry, service, request, response)


@router.get("/{scene}", responses=problems(404))
def get_scene(request: Request, service: Here, tenant: Tenant, scene: SceneId) -> SceneDocument:
    """One image."""
    return _document(service.catalog.find(scene, tenant), service, request)


@router.delete("/{scene}", status_code=204, responses=problems(404))
def delete_scene(service: Here, tenant: Tenant, scene: SceneId) -> Response:
    """Delete an upload."""
    service.catalog.drop(scene, tenant)
    return Response(status_code=204)


@router.get("/{scene}/tiles/{z}/{x}/{y}.png", response_class=Response, responses={**A_PNG, **problems(404)})
def get_tile(service: Here, tenant: Tenant, scene: SceneId, z: Zoom, x: Index, y: Index) -> Response:
    """A map tile (XYZ, Web Mercator, 256 pixels), made on the fly; transparent outside of the scene."""
    content = service.display.tile(service.catalog.find(scene, tenant), z, x, y)
    return Response(content, media_type=PNG, headers=CACHED)


@router.get("/{scene}/picture.png", response_class=Response, responses={**A_PNG, **problems(404)})
def get_picture(service: Here, tenant: Tenant, scene: SceneId, side: Side = None) -> Response:
    """The whole image at its own size; reduced where it is larger than `side` or the server's limit."""
    most = service.settings.limits.segment_pixels
    content = service.display.picture(service.catalog.find(scene, tenant), side, most)
    return Response(content, media_type=PNG, headers=CACHED)


def keep_upload(service: Service, file: UploadFile, tenant: str) -> Entry:
    """Make a scene of what came with a request.

    Raises:
        Problem: it is no image, or too large.
    """
    with saved(service, file) as path:
        return service.catalog.take(path, file.filename or "image", tenant)


@contextmanager
def saved(service: Service, file: UploadFile) -> Iterator[Path]:
    """The path of a file that came with a request, until the block ends. It has no ending."""
    with tempfile.TemporaryDirectory(prefix="incoming-", dir=service.settings.data) as folder:
        path = Path(folder, "image")
        with path.open("wb") as stream:
            shutil.copyfileobj(file.file, stream)
        yield path


def _created(entry: Entry, service: Service, request: Request, response: Response) -> SceneDocument:
    try:
        document = _document(entry, service, request)
    except Problem:
        service.catalog.drop(entry.id, tenant_of(request))
        raise
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/v1/scenes/{entry.id}"
    return document


def _document(entry: Entry, service: Service, request: Request) -> SceneDocument:
    root = request.scope.get("root_path", "")
    return scene_document(entry, service.display.facts(entry), service.settings.limits, root)
