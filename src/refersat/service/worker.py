"""The one thread in which the model answers: a bounded queue, shares of it, and batches across clients."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from refersat.errors import UserError
from refersat.imagery import Image
from refersat.service.metrics import Metrics
from refersat.service.problems import Problem, busy
from refersat.service.settings import Limits

if TYPE_CHECKING:
    from refersat.result import Result
    from refersat.segmenter import Segmenter

_T = TypeVar("_T")
_JOBS_TURN = 4  # of so many turns one is a job's, however many clients wait
_KEPT_IMAGES = 4
_KEPT_PIXELS = 50_000_000
_UNFINISHED = 8  # answered questions whose files and documents are still being made: their arrays are in memory
_USUAL_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Question:
    """What a client asks about one image while it waits.

    Attributes:
        tenant: whose share of the queue it takes.
        key: questions with the same key are about the same image.
        read: reads it.
        phrases: plain ones, as `check_phrase` gives them.
        threshold: None for the model's own rule.
        finish: makes of the answers, in the phrases' order, what the client gets; runs in another thread.
    """

    tenant: str
    key: Hashable
    read: Callable[[], Image]
    phrases: tuple[str, ...]
    threshold: float | None
    finish: Callable[[Sequence[Result]], Any]
    future: Future[Any] = field(default_factory=Future)


class ModelWorker:
    """Answers questions one batch after another, and does the tiles of jobs in between.

    Args:
        segmenter: the model; nothing else may use it.
        limits: how many may wait, and how many of one tenant.
        metrics: told of what happens.
    """

    def __init__(self, segmenter: Segmenter, limits: Limits, metrics: Metrics) -> None:
        self.segmenter = segmenter
        self._limits = limits
        self._metrics = metrics
        self._condition = threading.Condition()
        self._waiting: OrderedDict[str, deque[Question]] = OrderedDict()  # by tenant; the first one is next
        self._held: dict[str, int] = {}
        self._work: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._images: OrderedDict[Hashable, Image] = OrderedDict()
        self._turn = 0
        self._stopping = False
        self._seconds = _USUAL_SECONDS
        self._unfinished = threading.Semaphore(_UNFINISHED)
        self._finishers = ThreadPoolExecutor(2, "refersat-finish")
        self._thread = threading.Thread(target=self._run, name="refersat-model", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being answered; what waits is refused."""
        with self._condition:
            self._stopping = True
            left = [one.future for line in self._waiting.values() for one in line] + [one for _, one in self._work]
            self._waiting.clear()
            self._work.clear()
            self._condition.notify_all()
        for future in left:
            future.cancel()
        if self._thread.is_alive():
            self._thread.join(timeout=60)
        self._finishers.shutdown(cancel_futures=True)

    @property
    def length(self) -> int:
        """Questions that wait or are being answered."""
        with self._condition:
            return sum(self._held.values())

    @property
    def is_alive(self) -> bool:
        """Whether anybody answers."""
        return self._thread.is_alive()

    def require_room(self, tenant: str) -> None:
        """Refuse a question that has no place.

        Raises:
            Problem: 503; says when to come back.
        """
        with self._condition:
            self._require_room(tenant)

    def _require_room(self, tenant: str) -> None:
        total, own = sum(self._held.values()), self._held.get(tenant, 0)
        if self._stopping:
            raise busy("the server is being stopped", 10)
        if total >= self._limits.queue:
            self._metrics.refused.labels("full").inc()
            raise busy("too many questions wait for the model: ask again a little later", total * self._seconds)
        if own >= self._limits.of_one(self._limits.queue):
            self._metrics.refused.labels("share").inc()
            raise busy("too many of your own questions wait for the model: let some be answered", own * self._seconds)

    def ask(self, question: Question) -> Future[Any]:
        """Queue a question; its future gets what `finish` makes, or the error. Cancelling it gives its place back.

        Raises:
            Problem: 503, there is no place for it.
        """
        with self._condition:
            self._require_room(question.tenant)
            self._held[question.tenant] = self._held.get(question.tenant, 0) + 1
            self._waiting.setdefault(question.tenant, deque()).append(question)
            self._metrics.queue.set(sum(self._held.values()))
            self._condition.notify_all()
        question.future.add_done_callback(lambda _: self._release(question))
        return question.future

    def _release(self, question: Question) -> None:
        with self._condition:
            self._held[question.tenant] -= 1
            if not self._held[question.tenant]:
                del self._held[question.tenant]
            line = self._waiting.get(question.tenant)
            if line is not None:
                with suppress(ValueError):
                    line.remove(question)
                if not line:
                    del self._waiting[question.tenant]
            self._metrics.queue.set(sum(self._held.values()))

    def do(self, work: Callable[[], _T]) -> _T:
        """Run something of a job in the model's thread, and wait for it.

        Raises:
            CancelledError: the server is being stopped.
        """
        future: Future[_T] = Future()
        with self._condition:
            if self._stopping:
                future.cancel()
            else:
                self._work.append((work, future))
                self._condition.notify_all()
        return future.result()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._waiting or self._work)
                if self._stopping:
                    return
                self._turn += 1
                work = None
                if self._work and (not self._waiting or self._turn % _JOBS_TURN == 0):
                    work = self._work.popleft()
                batch = [] if work else self._next_batch()
            if work is not None:
                _settle(work[1], work[0])
            elif batch:
                self._answer(batch)

    def _next_batch(self) -> list[Question]:
        """The next tenant's first question, and those of all that go well with it."""
        tenant, line = self._waiting.popitem(last=False)
        first = line.popleft()
        if line:
            self._waiting[tenant] = line  # and this tenant is last now
        batch, size = [first], len(first.phrases)
        # On a CPU only questions about one image share work; elsewhere any do.
        alone = self.segmenter.device.type == "cpu"
        for name in list(self._waiting):
            for question in list(self._waiting[name]):
                fits = question.threshold == first.threshold and (question.key == first.key or not alone)
                if fits and size + len(question.phrases) <= self._room:
                    self._waiting[name].remove(question)
                    batch.append(question)
                    size += len(question.phrases)
            if not self._waiting[name]:
                del self._waiting[name]
        batch = [one for one in batch if one.future.set_running_or_notify_cancel()]
        return sorted(batch, key=lambda one: hash(one.key))  # the same image side by side

    @property
    def _room(self) -> int:
        return max(self.segmenter.batch_size, self._limits.phrases)

    def _answer(self, batch: list[Question]) -> None:
        began = time.perf_counter()
        try:
            answers = self._ask_model(batch)
        except Exception as error:
            if len(batch) > 1:  # one of them may be at fault: each for itself then
                for question in batch:
                    self._answer([question])
                return
            if not isinstance(error, (UserError, Problem)):
                log.exception("the model failed")
            batch[0].future.set_exception(error)
            return
        seconds = time.perf_counter() - began
        self._seconds += 0.1 * (seconds / len(batch) - self._seconds)
        self._metrics.model_seconds.inc(seconds)
        for question, results in zip(batch, answers, strict=True):
            self._unfinished.acquire()
            self._finishers.submit(self._finish, question, results)

    def _ask_model(self, batch: Sequence[Question]) -> list[list[Result]]:
        """The answers to each question; what several ask is asked once."""
        pairs: dict[tuple[Hashable, str], None] = {(one.key, phrase): None for one in batch for phrase in one.phrases}
        images = {one.key: self._image(one) for one in batch}
        results = self.segmenter.batch(
            [images[key] for key, _ in pairs], [phrase for _, phrase in pairs], threshold=batch[0].threshold
        )
        known = dict(zip(pairs, results, strict=True))
        self._metrics.questions.labels("waiting").inc(len(pairs))
        self._metrics.batch_questions.observe(len(pairs))
        return [[known[one.key, phrase] for phrase in one.phrases] for one in batch]

    def _image(self, question: Question) -> Image:
        image = self._images.pop(question.key, None)
        if image is None:
            image = question.read()
        self._images[question.key] = image
        pixels = sum(one.width * one.height for one in self._images.values())
        while len(self._images) > 1 and (len(self._images) > _KEPT_IMAGES or pixels > _KEPT_PIXELS):
            _, dropped = self._images.popitem(last=False)
            pixels -= dropped.width * dropped.height
        return image

    def _finish(self, question: Question, results: Sequence[Result]) -> None:
        try:
            _settle(question.future, lambda: question.finish(results), begun=True)
        finally:
            self._unfinished.release()


def _settle(future: Future[Any], work: Callable[[], Any], *, begun: bool = False) -> None:
    """Give a future what some work gives, or its error."""
    if not begun and not future.set_running_or_notify_cancel():
        return
    try:
        value = work()
    except BaseException as error:  # whoever waits is told
        future.set_exception(error)
    else:
        future.set_result(value)
