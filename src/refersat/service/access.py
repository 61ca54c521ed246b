"""Who may come in, and as whom they count."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from refersat.service.problems import Problem, problem_response

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OPEN = frozenset({"/", "/health", "/openapi.json", "/conformance", "/v1/about", "/favicon.svg", "/favicon.ico"})
_OPEN_FOLDER = "/assets/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """Middleware: refuses who has no token, pages of other servers, and names that are not this server's.

    What it lets through carries its tenant: whose queue share, jobs and uploads it is about.

    Args:
        app: what comes after.
        tokens: those that open; all may come in when there is none, but only by a name of this machine. A page of
            another server could otherwise reach it by a name that it lets point here (DNS rebinding).
        origins: web pages of other servers that may call.
    """

    def __init__(self, app: ASGIApp, *, tokens: Sequence[str], origins: Sequence[str]) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._require_name(headers)
            self._require_own_page(scope, headers)
            tenant = self._tenant(scope, headers)
        except Problem as problem:
            response = problem_response(problem.status_code, problem.detail, problem.kind, problem.headers)
            await response(scope, receive, send)
            return
        scope.setdefault("state", {})["tenant"] = tenant
        await self._app(scope, receive, send)

    def _require_name(self, headers: Headers) -> None:
        if not self._tokens and _host_name(headers.get("host", "")) not in LOCAL_NAMES:
            raise Problem(403, "without a token this server answers to localhost and 127.0.0.1 only")

    def _require_own_page(self, scope: Scope, headers: Headers) -> None:
        """A form on any web page may post here without asking: what changes something comes from pages of ours."""
        origin = headers.get("origin")
        if scope["method"] in _SAFE or origin is None or origin in self._origins:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise Problem(403, f"pages of {origin} may not call this server; its operator can allow it with --cors")

    def _tenant(self, scope: Scope, headers: Headers) -> str:
        if not self._tokens:
            return _address_tenant(scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = scheme.lower() == "bearer" and any(
            hmac.compare_digest(given.strip().encode("utf-8", "replace"), token) for token in self._tokens
        )
        if known:
            return "token-" + hashlib.sha256(given.strip().encode()).hexdigest()[:16]
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        if path in _OPEN or path.startswith(_OPEN_FOLDER):
            return _address_tenant(scope)
        raise Problem(
            401,
            "this server wants its token: send the header Authorization: Bearer TOKEN" if not given else "wrong token",
            headers={"WWW-Authenticate": "Bearer"},
        )


def tenant_of(request: Request) -> str:
    """As whom a request counts."""
    return str(request.state.tenant)


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach an address or name."""
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address_tenant(scope: Scope) -> str:
    host = scope["client"][0] if scope.get("client") else "unknown"
    return "local" if is_loopback(host) or host == "testclient" else f"address-{host}"


def _host_name(host: str) -> str:
    """Without the port: [::1]:8000, 127.0.0.1:8000, localhost."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
