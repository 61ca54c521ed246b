"""Numbers for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        registry = self._registry
        self.requests = Counter(
            "refersat_http_requests", "Answered requests.", ["method", "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "refersat_http_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.refused = Counter(
            "refersat_refused", "Questions that found no place in the queue.", ["why"], registry=registry
        )
        self.questions = Counter("refersat_questions", "Phrases that the model answered.", ["kind"], registry=registry)
        self.batch_questions = Histogram(
            "refersat_batch_questions",
            "Phrases that the model answered at once.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self.model_seconds = Counter("refersat_model_seconds", "Time that the model worked.", registry=registry)
        self.queue = Gauge("refersat_queue", "Questions that wait or are being answered.", registry=registry)

    def watch_jobs(self, count: Callable[[], Mapping[str, int]]) -> None:
        """Show the number of jobs by status, as `count` says when asked."""
        self._registry.register(_Jobs(count))

    def shown(self) -> bytes:
        """All, in the text format."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    def __init__(self, count: Callable[[], Mapping[str, int]]) -> None:
        self._count = count

    def collect(self) -> list[GaugeMetricFamily]:
        family = GaugeMetricFamily("refersat_jobs", "Jobs by status.", labels=["status"])
        for status, number in self._count().items():
            family.add_metric([status], number)
        return [family]


class Measured:
    """Middleware: counts and times answers, by the route's pattern: paths are as many as users like."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = str(getattr(scope.get("route"), "path", "other"))
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - began)


_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
