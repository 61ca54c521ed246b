"""What the server is, and how it does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from refersat import __version__
from refersat.service.metrics import CONTENT_TYPE
from refersat.service.parts import Service, service_of
from refersat.service.problems import problems
from refersat.service.schemas import About, Health, LimitsDocument

EXAMPLES = (
    "all ships",
    "all vehicles",
    "the airplane on the left",
    "the largest storage tank",
    "the tennis court at the top",
    "the bridge",
    "the ship in the middle",
    "the baseball diamond",
)
"""Phrases to begin with: of the kinds that the built-in model knows, and the forms of all data sets of the field."""

router = APIRouter(tags=["service"])


@router.get("/v1/about", responses=problems())
def about(service: Annotated[Service, Depends(service_of)]) -> About:
    """What this server is, what may be asked, and its bounds."""
    from refersat.models.zoo import ModelCard

    folder = service.segmenter.folder
    card = ModelCard.read(folder) if folder is not None else None
    limits = service.settings.limits
    return About(
        version=__version__,
        model=service.segmenter.name,
        summary=card.summary if card else "",
        notes=list(card.notes) if card else [],
        licence=card.licence if card else "",
        threshold=service.segmenter.threshold,
        token_required=bool(service.settings.tokens),
        examples=list(EXAMPLES),
        limits=LimitsDocument(
            upload_bytes=limits.upload_bytes,
            pixels=limits.pixels,
            segment_pixels=limits.segment_pixels,
            phrases=limits.phrases,
            timeout_s=limits.timeout_s,
            keep_days=limits.keep_days,
        ),
    )


@router.get("/health", responses={503: {"model": Health, "description": "It does not work."}, **problems()})
def health(service: Annotated[Service, Depends(service_of)], response: Response) -> Health:
    """Whether the server works; 503 when its model no longer answers."""
    works = service.worker.is_alive
    if not works:
        response.status_code = 503
    return Health(
        status="ok" if works else "failing",
        model=service.segmenter.name,
        queue=service.worker.length,
        jobs=service.store.counts(),
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems()},
)
def metrics(service: Annotated[Service, Depends(service_of)]) -> Response:
    """Numbers for Prometheus."""
    return Response(service.metrics.shown(), media_type=CONTENT_TYPE)
