"""The web page, and for programs the landing page of OGC API - Processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from refersat.service.problems import Problem, problems
from refersat.service.schemas import Conformance, LandingPage, Link

PACKAGED_PAGE = Path(__file__).parent.parent / "page"

_REL = "http://www.opengis.net/def/rel/ogc/1.0"
_CONFORMANCE = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf"
_NO_PAGE = (
    "<!doctype html><html lang=en><title>refersat</title><h1>refersat</h1><p>The web page is not built; the API is "
    "here: see <a href=openapi.json>openapi.json</a>.</html>"
)

router = APIRouter(tags=["service"])


@router.get(
    "/",
    response_model=LandingPage,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **problems()},
)
def landing_page(request: Request, f: Annotated[str | None, Query(pattern="^(json|html)$")] = None) -> Response:
    """The web page for browsers; for programs (`Accept: application/json` or `?f=json`) the landing page."""
    accepted = request.headers.get("accept", "")
    if f == "html" or (f is None and "text/html" in accepted):
        index = _folder(request) / "index.html"
        return FileResponse(index) if index.is_file() else HTMLResponse(_NO_PAGE)
    root = request.scope.get("root_path", "")
    links = [
        Link(href=f"{root}/?f=json", rel="self", type="application/json", title="this document"),
        Link(href=f"{root}/?f=html", rel="alternate", type="text/html", title="the web page"),
        Link(
            href=f"{root}/openapi.json",
            rel="service-desc",
            type="application/vnd.oai.openapi+json;version=3.1",
            title="the API",
        ),
        Link(href=f"{root}/conformance", rel=f"{_REL}/conformance", type="application/json", title="conformance"),
        Link(href=f"{root}/processes", rel=f"{_REL}/processes", type="application/json", title="processes"),
        Link(href=f"{root}/jobs", rel=f"{_REL}/job-list", type="application/json", title="jobs"),
    ]
    title, about = "refersat", "Say in English what you mean in an aerial image, and get its mask."
    return JSONResponse(LandingPage(title=title, description=about, links=links).model_dump(exclude_none=True))


@router.get("/conformance", response_model=Conformance, responses=problems())
def conformance() -> Conformance:
    """The parts of OGC API - Processes that this server follows."""
    classes = ("core", "ogc-process-description", "json", "oas30", "job-list", "dismiss")
    return Conformance(conformsTo=[f"{_CONFORMANCE}/{name}" for name in classes])


@router.get("/favicon.svg", include_in_schema=False)
def favicon(request: Request) -> Response:
    """The page's."""
    path = _folder(request) / "favicon.svg"
    if not path.is_file():
        raise Problem(404, "there is no icon")
    return FileResponse(path, media_type="image/svg+xml")


def mount(app: FastAPI, folder: Path | None) -> None:
    """Serve the page's scripts, styles and pictures."""
    folder = folder or PACKAGED_PAGE
    app.state.page = folder
    app.mount("/assets", StaticFiles(directory=folder / "assets", check_dir=False), name="assets")


def _folder(request: Request) -> Path:
    folder = request.app.state.page
    assert isinstance(folder, Path)
    return folder
