"""Many clients, one model: nothing mixed up, nobody lost, nobody takes all."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from refersat.segmenter import Segmenter
from tests.service.conftest import Serve, connect, decoded, encoded, problem, wait_for
from tests.service.models import Gated

MakeSegmenter = Callable[..., Segmenter]


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Dark images of different sizes, each with a bright rectangle at another place."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        rgb = np.full((int(random.integers(40, 90)), int(random.integers(40, 90)), 3), 20, np.uint8)
        top, left = random.integers(0, 20, 2)
        rgb[top : top + 15, left : left + 18] = 240
        made.append(rgb)
    return made


def ask(client: TestClient, content: bytes, phrases: list[str], **fields: Any) -> Any:
    data = {"phrases": phrases, "outputs": ["mask", "probability"], **fields}
    return client.post("/v1/segment", data=data, files={"image": content})


@pytest.fixture
def gated(make_segmenter: MakeSegmenter) -> Gated:
    return Gated(make_segmenter())


def test_each_of_many_clients_gets_the_answer_that_it_would_get_alone(
    serve: Serve, make_segmenter: MakeSegmenter
) -> None:
    client = serve()
    alone = make_segmenter()
    images = pictures(6)
    encodings = [encoded(rgb) for rgb in images]
    phrases = ["the field", "a unicorn", "the roof on the left"]

    def one(number: int) -> None:
        which, some, threshold = number % 6, phrases[number % 3 :] + phrases[: number % 2], (None, 0.3)[number % 4 == 0]
        fields = {} if threshold is None else {"threshold": str(threshold)}
        response = ask(client, encodings[which], some, **fields)
        assert response.status_code == 200, response.text
        found = response.json()
        assert [answer["phrase"] for answer in found["answers"]] == some
        for answer in found["answers"]:
            expected = alone(images[which], answer["phrase"], threshold=threshold)
            assert answer["found"] == expected.present
            assert answer["score"] == pytest.approx(expected.score, abs=1e-6)
            mask = decoded(base64.b64decode(answer["outputs"]["mask"])) > 0
            np.testing.assert_array_equal(mask, expected.mask)
            if expected.present:
                values = decoded(base64.b64decode(answer["outputs"]["probability"]))
                np.testing.assert_array_equal(values, np.rint(expected.probability * np.float32(255)))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(60)))
    assert client.get("/health").json()["queue"] == 0


def test_questions_about_one_image_share_the_work(serve: Serve, gated: Gated, picture: bytes) -> None:
    client = serve(segmenter=gated)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, client, encoded(pictures(1)[0]), ["the first"])
        assert gated.busy.wait(30)
        others = [pool.submit(ask, client, picture, [phrase]) for phrase in ("one", "two", "three", "two")]
        wait_for(lambda: client.get("/health").json()["queue"] == 5)
        gated.gate.set()
        assert first.result().status_code == 200
        assert [one.result().json()["answers"][0]["phrase"] for one in others] == ["one", "two", "three", "two"]
    assert gated.batches[0] == ["the first"]
    assert [sorted(batch) for batch in gated.batches[1:]] == [["one", "three", "two"]]


def test_a_full_queue_says_when_to_come_back(serve: Serve, gated: Gated, picture: bytes) -> None:
    client = serve(segmenter=gated, limits={"queue": 3, "share": 1.0})
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(ask, client, picture, ["a"]) for _ in range(3)]
        wait_for(lambda: client.get("/health").json()["queue"] == 3)
        response = ask(client, picture, ["a"])
        assert "too many questions" in problem(response, 503)
        assert int(response.headers["retry-after"]) >= 1
        assert 'refersat_refused_total{why="full"} 1.0' in client.get("/metrics").text
        gated.gate.set()
        assert [one.result().status_code for one in waiting] == [200] * 3
    assert ask(client, picture, ["a"]).status_code == 200


def test_one_user_cannot_take_all_of_the_queue(serve: Serve, gated: Gated, picture: bytes) -> None:
    client = serve(segmenter=gated, limits={"queue": 4}, tokens=("greedy-token", "modest-token"))

    def asked_by(name: str, phrase: str) -> Any:
        headers = {"Authorization": f"Bearer {name}-token"}
        return client.post("/v1/segment", data={"phrases": phrase}, files={"image": picture}, headers=headers)

    with ThreadPoolExecutor(4) as pool:
        greedy = [pool.submit(asked_by, "greedy", phrase) for phrase in ("one", "two")]
        wait_for(lambda: client.get("/health").json()["queue"] == 2)
        assert "of your own" in problem(asked_by("greedy", "three"), 503)
        modest = pool.submit(asked_by, "modest", "four")
        wait_for(lambda: client.get("/health").json()["queue"] == 3)
        gated.gate.set()
        assert [one.result().status_code for one in (*greedy, modest)] == [200] * 3


def test_who_waits_too_long_is_told_and_gives_the_place_back(serve: Serve, gated: Gated, picture: bytes) -> None:
    client = serve(segmenter=gated, limits={"timeout_s": 0.3})
    assert "no answer within 0.3 s" in problem(ask(client, picture, ["a"]), 504)  # the model is at it
    assert "no answer" in problem(ask(client, picture, ["b"]), 504)  # this one never begins
    gated.gate.set()
    wait_for(lambda: client.get("/health").json()["queue"] == 0)
    assert ["b"] not in gated.batches


def test_who_goes_away_gives_the_place_back(serve: Serve, gated: Gated, photo: Path) -> None:
    client = serve(photo, segmenter=gated)
    leave = threading.Event()
    headers = {b"host": b"127.0.0.1", b"content-type": b"application/x-www-form-urlencoded"}
    request = {"type": "http", "method": "POST", "path": "/v1/segment", "headers": list(headers.items())}
    scope = {**request, "query_string": b"", "client": ("127.0.0.1", 1), "http_version": "1.1", "scheme": "http"}

    async def leaving() -> None:
        body = [{"type": "http.request", "body": b"scene=photo&phrases=forgotten", "more_body": False}]

        async def receive() -> Any:
            while not body and not leave.is_set():
                await asyncio.sleep(0.01)
            return body.pop() if body else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        await client.app(scope, receive, send)  # type: ignore[operator]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/v1/segment", data={"scene": "photo", "phrases": "the first"})
        assert gated.busy.wait(30)
        second = pool.submit(asyncio.run, leaving())
        wait_for(lambda: client.get("/health").json()["queue"] == 2)
        leave.set()
        wait_for(lambda: client.get("/health").json()["queue"] == 1)
        gated.gate.set()
        assert first.result().status_code == 200
        second.result()
    assert gated.batches == [["the first"]]


def test_one_failing_question_does_not_take_others_with_it(
    serve: Serve, gated: Gated, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Segmenter.batch

    def failing(self: Segmenter, images: Any, phrases: Any, **words: Any) -> Any:
        if "bad" in phrases:
            raise RuntimeError("the model has a fit")
        return whole(self, images, phrases, **words)

    monkeypatch.setattr(Segmenter, "batch", failing)
    client = serve(segmenter=gated)
    quiet = connect(client.app, raise_server_exceptions=False)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, quiet, encoded(pictures(1)[0]), ["the first"])
        assert gated.busy.wait(30)
        bad, good = (pool.submit(ask, quiet, picture, [phrase]) for phrase in ("bad", "good"))
        wait_for(lambda: client.get("/health").json()["queue"] == 3)
        gated.gate.set()
        assert (first.result().status_code, good.result().status_code) == (200, 200)
        words = problem(bad.result(), 500)
    assert "fit" not in words


def test_memory_of_finished_questions_is_let_go(serve: Serve) -> None:
    client = serve()
    for rgb in pictures(12):
        assert ask(client, encoded(rgb), ["a"]).status_code == 200
    worker = client.app.state.service.worker  # type: ignore[attr-defined]
    assert len(worker._images) <= 4
    assert worker.length == 0


def test_the_threads_end_with_the_server(make_segmenter: MakeSegmenter, tmp_path: Any) -> None:
    from refersat.service.app import create_app
    from refersat.service.settings import Settings

    with connect(create_app(Settings(data=tmp_path / "d"), make_segmenter())) as client:
        assert client.get("/health").json()["status"] == "ok"
    wait_for(lambda: not [one for one in threading.enumerate() if one.name in ("refersat-model", "refersat-jobs")])
