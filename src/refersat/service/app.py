"""The web application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi

from refersat import __version__
from refersat.service.access import Access
from refersat.service.body import BodyLimit
from refersat.service.headers import SecurityHeaders
from refersat.service.metrics import Measured
from refersat.service.parts import Service
from refersat.service.problems import install
from refersat.service.routes import jobs, operations, page, processes, results, scenes, segment
from refersat.service.settings import Settings

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

_DESCRIPTION = """Say in English what you mean in an aerial image, and get its mask.

Images: `POST /v1/segment` answers while you wait. Scenes of any size: jobs, as OGC API - Processes Part 1 shapes them.
Every error is a problem document whose `detail` says what to do."""


def create_app(settings: Settings, segmenter: Segmenter) -> FastAPI:
    """An ASGI application around a loaded model; it works between its start and its end (ASGI lifespan).

    Args:
        settings: the operator's.
        segmenter: from `refersat.load`; nothing else may use it meanwhile.

    Raises:
        UserError: a scene does not exist, or the data folder cannot be used.
    """
    service = Service.make(settings, segmenter)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()

    app = FastAPI(
        title="refersat",
        summary="Referring segmentation of aerial images.",
        description=_DESCRIPTION,
        version=__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # both load their scripts from elsewhere
        redoc_url=None,
        root_path=settings.root_path,
        separate_input_output_schemas=False,
    )
    app.state.service = service
    install(app)
    for router in (page.router, operations.router, scenes.router, segment.router, results.router):
        app.include_router(router)
    for router in (processes.router, jobs.router):
        app.include_router(router)
    page.mount(app, settings.page)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, limits=settings.limits, require_room=service.worker.require_room)
    app.add_middleware(Access, tokens=settings.tokens, origins=settings.origins)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Prefer"],
            expose_headers=["Location", "Retry-After", "Content-Disposition"],
        )
    app.add_middleware(Measured, metrics=service.metrics)
    app.add_middleware(SecurityHeaders, shared=bool(settings.origins))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the token, and without FastAPI's own shape of validation errors, which nobody gets."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            summary=app.summary,
            description=app.description,
            version=app.version,
            license_info=app.license_info,
            routes=app.routes,
            servers=[{"url": app.root_path or "/"}],
            separate_input_output_schemas=False,
        )
        parts = document.setdefault("components", {})
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{}, {"token": []}]
        for name in ("HTTPValidationError", "ValidationError"):
            parts.get("schemas", {}).pop(name, None)
        for path in document["paths"].values():
            for operation in path.values():
                operation.get("responses", {}).pop("422", None)
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    if "application/problem+json" in content:
                        content.pop("application/json", None)
        app.openapi_schema = document
    return app.openapi_schema
