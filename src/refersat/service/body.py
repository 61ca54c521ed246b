"""Bodies of requests: not more than allowed, and not slower."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refersat.service.problems import Problem, problem_response
from refersat.service.settings import MEBIBYTE, Limits

JSON_BYTES = 4 * MEBIBYTE
_SLOWEST = 1024  # bytes a second, from when on a body is no slow one but holds the place of others
_FORM_BYTES = MEBIBYTE  # what a form may hold beside its file
_SEGMENT = "/v1/segment"
_UPLOADS = ("/v1/scenes", _SEGMENT)


class BodyLimit:
    """Middleware: 413 for a body with too many bytes, told from its header or counted, and 408 for one that stalls.

    A question that has no place in the queue is refused before its image has come. (Starlette's own limit answers in
    plain text, where ours are problem documents.)

    Args:
        app: what comes after.
        limits: how many bytes, and how slow.
        require_room: refuses a tenant's question.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, require_room: Callable[[str], None]) -> None:
        self._app = app
        self._limits = limits
        self._require_room = require_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        bound = self._limits.upload_bytes + _FORM_BYTES if path in _UPLOADS else JSON_BYTES
        told = Headers(scope=scope).get("content-length", "0")
        try:
            if told.isdecimal() and int(told) > bound:
                raise _too_large(bound)
            if path == _SEGMENT and scope["method"] == "POST":
                self._require_room(scope["state"]["tenant"])
        except Problem as problem:
            headers = {**(problem.headers or {}), "Connection": "close"}  # the body will not be read
            await problem_response(problem.status_code, problem.detail, headers=headers)(scope, receive, send)
            return
        taken, ended, began = 0, False, time.monotonic()

        async def counted() -> Message:
            nonlocal taken, ended
            if ended:  # what comes after the body is a disconnection, for which there is time
                return await receive()
            patience = self._limits.body_s
            left = began + patience + taken / _SLOWEST - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), min(patience, left))
            except TimeoutError:
                raise Problem(408, "the rest of the request did not come in time") from None
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                ended = not message.get("more_body", False)
                if taken > bound:
                    raise _too_large(bound)
            return message

        await self._app(scope, counted, send)


def _too_large(bound: int) -> Problem:
    return Problem(413, f"the request has more than {bound / MEBIBYTE:.0f} MiB, which is all that this server takes")
