"""Errors in one shape: problem documents (RFC 9457), which OGC API - Processes wants, too."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from refersat.errors import UserError

MEDIA_TYPE = "application/problem+json"
_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
NO_SUCH_PROCESS = f"{_OGC}no-such-process"
NO_SUCH_JOB = f"{_OGC}no-such-job"
RESULT_NOT_READY = f"{_OGC}result-not-ready"


class ProblemDocument(BaseModel):
    """What every error looks like; `detail` is for people."""

    type: str = Field("about:blank", description="A URI that names the kind of problem.")
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong and what to do, in words.")


class Problem(HTTPException):
    """An answer that is an error.

    Args:
        status: HTTP status.
        detail: what is wrong and what to do, in words.
        kind: a URI, where there is one for it.
        headers: further ones.
    """

    def __init__(
        self, status: int, detail: str, *, kind: str = "about:blank", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind


def busy(detail: str, seconds: float) -> Problem:
    """503: come back after so many seconds."""
    return Problem(503, detail, headers={"Retry-After": str(max(1, round(seconds)))})


def problem_response(
    status: int, detail: str, kind: str = "about:blank", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer that tells of a problem."""
    content = {"type": kind, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, dict(headers or {}), MEDIA_TYPE)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route's OpenAPI says of its errors; those that any route may give are added."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "model": ProblemDocument,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in sorted({400, 401, 403, *statuses})
    }


def install(app: FastAPI) -> None:
    """Let an application answer all errors so."""

    @app.exception_handler(HTTPException)
    async def told(request: Request, error: HTTPException) -> JSONResponse:
        detail = error.detail
        if not isinstance(error, Problem):
            detail = _plain_words(request, error)
        return problem_response(error.status_code, detail, getattr(error, "kind", "about:blank"), error.headers)

    @app.exception_handler(UserError)
    async def users_mistake(request: Request, error: UserError) -> JSONResponse:
        return problem_response(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem_response(400, "; ".join(_mistake(one) for one in error.errors()[:3]))

    @app.exception_handler(Exception)
    async def ours(request: Request, error: Exception) -> JSONResponse:
        return problem_response(500, "the server failed at this; its log says why")


def _plain_words(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}"
    if error.status_code == 405:
        return f"{request.url.path} does not take {request.method}"
    return str(error.detail)


def _mistake(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in ("body", "query", "path", "header"))
    return f"{where or 'the request'}: {error['msg']}"
