"""Ask about an image, and wait for the answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.concurrency import run_in_threadpool

from refersat.errors import UserError
from refersat.imagery import Image, read_image
from refersat.question import check_phrase
from refersat.scene.reader import SceneReader
from refersat.scene.window import Window
from refersat.service.answering import Answered, Asked, answer
from refersat.service.areas import cut_image, limit_reader
from refersat.service.catalog import Entry
from refersat.service.display import without_path
from refersat.service.documents import result_document
from refersat.service.parts import Service
from refersat.service.problems import Problem, problems
from refersat.service.routes.scenes import Here, Tenant, keep_upload, saved
from refersat.service.schemas import Phrase, ResultDocument
from refersat.service.store import now
from refersat.service.uploads import plain_name, read_header
from refersat.service.worker import Question

_LOOK = 0.5  # seconds between two looks whether the client is still there

router = APIRouter(tags=["segment"])


@router.post("/v1/segment", responses=problems(404, 408, 413, 415, 503, 504, 507))
async def segment(
    request: Request,
    service: Here,
    tenant: Tenant,
    phrases: Annotated[list[Phrase], Form(min_length=1, description="What to find, in English; repeat the field.")],
    image: Annotated[UploadFile | None, File(description="An image; or name a scene.")] = None,
    scene: Annotated[str | None, Form(max_length=300, description="The id of a scene.")] = None,
    threshold: Annotated[float | None, Form(ge=0, le=1, description="The model's own rule by default.")] = None,
    area: Annotated[
        str | None,
        Form(description="A GeoJSON polygon as text, in degrees or, for pictures, in pixels: only look there."),
    ] = None,
    outputs: Annotated[
        list[Literal["polygons", "mask", "probability", "overlay"]] | None,
        Form(description="What to put into the answer: polygons as GeoJSON, the others as PNG in base64."),
    ] = None,
    keep: Annotated[bool, Form(description="Keep the result on the server, so that its links work.")] = False,
) -> ResultDocument:
    """What phrases name in an image. Several phrases share the work on the image."""
    limits = service.settings.limits
    if len(phrases) > limits.phrases:
        raise Problem(400, f"{len(phrases)} phrases at once are more than {limits.phrases}: ask in several requests")
    if (image is None) == (scene is None):
        raise Problem(400, "send either an image or the id of a scene, and not both")
    plain = tuple(check_phrase(phrase) for phrase in phrases)
    with ExitStack() as until_answered:
        if keep:
            await run_in_threadpool(service.disk.require_room)
        if image is not None and keep:
            entry = await run_in_threadpool(keep_upload, service, image, tenant)
        elif image is not None:
            path = await run_in_threadpool(until_answered.enter_context, saved(service, image))
            header = await run_in_threadpool(read_header, path, limits)
            named = path.rename(path.with_suffix(header.ending))
            entry = Entry("", plain_name(image.filename or "image"), str(named), now(), uploaded=True)
        else:
            entry = await run_in_threadpool(service.catalog.find, scene or "", tenant)
        wanted = tuple(dict.fromkeys(outputs or ()))
        question = await run_in_threadpool(_question, service, entry, tenant, plain, threshold, area, wanted, keep)
        answered = await _answered(request, service.worker.ask(question), limits.timeout_s)
    root = request.scope.get("root_path", "")
    return result_document(answered.record, root, outputs=answered.outputs, kept=answered.kept)


async def _answered(request: Request, asked: Future[Answered], seconds: float) -> Answered:
    """What the worker answers. A question that nobody waits for any more gives its place back.

    Raises:
        Problem: it took too long, or the server is being stopped.
    """
    answer = asyncio.wrap_future(asked)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((answer, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            words = "nobody waits for the answer" if gone.done() else f"no answer within {seconds:g} s"
            raise Problem(504, f"{words}: ask again later, or as a job")
        if asked.cancelled():
            raise Problem(503, "the server is being stopped", headers={"Retry-After": "10"})
        return answer.result()
    finally:
        gone.cancel()
        answer.cancel()  # and with it what waits in the queue


async def _disconnected(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK)


def _question(
    service: Service,
    entry: Entry,
    tenant: str,
    phrases: tuple[str, ...],
    threshold: float | None,
    area: str | None,
    outputs: tuple[str, ...],
    keep: bool,
) -> Question:
    """What the worker needs to know.

    Raises:
        Problem: it cannot be answered.
    """
    facts = service.display.facts(entry)
    if entry.remote:
        raise Problem(400, f"{entry.name} lies in the web: ask about it as a job")
    most = service.settings.limits.segment_pixels
    if facts.width * facts.height > most:
        raise Problem(413, f"{entry.name} has more than {most / 1e6:g} million pixels: ask about it as a job")
    geometry = None if area is None else _json(area)
    window, shape = Window(0, 0, facts.width, facts.height), None
    if geometry is not None:
        try:
            with SceneReader(entry.address, name=entry.name, drivers=entry.drivers) as reader:
                limit_reader(reader, geometry, in_degrees=facts.bounds is not None)
                window, shape = reader.extent, reader.area
        except UserError as error:
            raise Problem(400, without_path(str(error), entry)) from error

    def whole() -> Image:
        try:
            return read_image(entry.address)
        except UserError as error:
            raise Problem(400, without_path(str(error), entry)) from error

    def read() -> Image:
        return whole() if shape is None else cut_image(whole(), shape, window)

    asked = Asked(
        tenant=tenant,
        scene=entry.id or None,
        name=entry.name,
        stem=entry.stem,
        size=(facts.width, facts.height),
        bounds=facts.bounds,
        area=geometry,
        window=window,
        threshold=service.segmenter.threshold if threshold is None else threshold,
        outputs=outputs,
        keep=keep,
    )
    return Question(
        tenant=tenant,
        key=(_digest(Path(entry.address)), None if shape is None else shape.wkb),
        read=read,
        phrases=phrases,
        threshold=threshold,
        finish=lambda results: answer(asked, results, service.results, whole),
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, "the area is no GeoJSON geometry: it is not even JSON") from None


def _digest(path: Path) -> str:
    """Of a file's content: the same image from several clients is read once."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
