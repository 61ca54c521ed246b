"""A thin client of `refersat serve`."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refersat.errors import UserError

if TYPE_CHECKING:
    import httpx2
    import PIL.Image

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
_POLL = 1.0  # seconds between looks at a job
_ENDED = ("successful", "failed", "dismissed")


@dataclass(frozen=True, eq=False)
class RemoteAnswer:
    """What one phrase names in an image of H x W pixels, as a server says.

    Attributes:
        phrase: the phrase that was asked.
        present: whether the target is there.
        score: in [0, 1], that the target is there.
        mask: bool (H, W), True on the target.
        probability: float32 (H, W) in steps of 1/255; 0 where the model says that the target is not there.
        polygons: a GeoJSON feature collection, in longitude and latitude or in pixels, as its members say.
        area: of the mask, in `area_unit`.
        area_unit: "m2" or "px".
    """

    phrase: str
    present: bool
    score: float
    mask: NDArray[np.bool_]
    probability: NDArray[np.float32]
    polygons: Mapping[str, Any]
    area: float
    area_unit: str


class Client:
    """Asks a server that `refersat serve` runs; a context manager.

        with refersat.Client("http://127.0.0.1:8000") as client:
            (answer,) = client.segment("harbour.png", ["the ship on the left"])
            found = client.run("harbour", ["all ships"], watch=print)  # a scene of the server's, as a job
            client.download(found["links"]["gpkg"], "ships.gpkg")

    Args:
        address: of the server.
        token: where it wants one; `$REFERSAT_TOKEN` when None.
        timeout: seconds to wait for an answer; also how long a full queue is asked again.

    Raises:
        UserError: httpx2 is missing. By every method: the server cannot be reached, or refuses; in its words.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, token: str | None = None, timeout: float = 120.0) -> None:
        self._http = _connection(address, token or os.environ.get("REFERSAT_TOKEN"), timeout)
        self._timeout = timeout

    def about(self) -> dict[str, Any]:
        """The server's model and limits."""
        return self._json("GET", "/v1/about")

    def scenes(self) -> list[dict[str, Any]]:
        """All that may be asked about."""
        found: list[dict[str, Any]] = self._json("GET", "/v1/scenes")["scenes"]
        return found

    def upload(self, path: str | Path) -> dict[str, Any]:
        """Bring an image; it then counts as a scene, by the `id` that it gets."""
        path = Path(path)
        return self._json("POST", "/v1/scenes", files={"file": (path.name, _content(path))})

    def segment(
        self,
        image: str | Path | PIL.Image.Image | NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        threshold: float | None = None,
    ) -> list[RemoteAnswer]:
        """What phrases name in an image: a path, a Pillow image or an array (H, W, 3); the server keeps nothing."""
        if isinstance(phrases, str):
            raise UserError("segment takes a list of phrases")
        fields: dict[str, Any] = {"phrases": list(phrases), "outputs": ["polygons", "mask", "probability"]}
        if threshold is not None:
            fields["threshold"] = str(threshold)
        name, content = _named(image)
        found = self._json("POST", "/v1/segment", data=fields, files={"image": (name, content)})
        return [_answer(one) for one in found["answers"]]

    def submit(self, scene: str, phrases: Sequence[str], **inputs: Any) -> str:
        """Begin a job about a scene; gives its name. `inputs` are those of GET /processes/segment."""
        asked = {"inputs": {"scene": scene, "phrases": list(phrases), **inputs}}
        return str(self._json("POST", "/processes/segment/execution", json=asked)["jobID"])

    def status(self, job: str) -> dict[str, Any]:
        """How a job stands."""
        return self._json("GET", f"/jobs/{job}")

    def dismiss(self, job: str) -> dict[str, Any]:
        """Cancel a job, or delete the result of an ended one."""
        return self._json("DELETE", f"/jobs/{job}")

    def run(
        self,
        scene: str,
        phrases: Sequence[str],
        *,
        watch: Callable[[str], None] = lambda line: None,
        **inputs: Any,
    ) -> dict[str, Any]:
        """Do a job about a scene and wait for it: `submit`, then the result. `watch` gets a line when it changes."""
        job, told = self.submit(scene, phrases, **inputs), ""
        while (status := self.status(job))["status"] not in _ENDED:
            line = f"{status['progress']} %, {status['message']}"
            if line != told:
                watch(told := line)
            time.sleep(_POLL)
        if status["status"] != "successful":
            raise UserError(f"job {job} {status['status']}: {status['message']}")
        return self._json("GET", f"/v1/results/{job}")

    def download(self, link: str, path: str | Path, *, threshold: float | None = None) -> Path:
        """Fetch a file that a result links to."""
        from refersat.output import write_file

        params = {} if threshold is None else {"threshold": threshold}
        path = Path(path)
        write_file(path, self._ask("GET", link, params=params).content)
        return path

    def _json(self, method: str, link: str, **words: Any) -> dict[str, Any]:
        document: dict[str, Any] = self._ask(method, link, **words).json()
        return document

    def _ask(self, method: str, link: str, **words: Any) -> httpx2.Response:
        """One request; while the server's queue is full, again when it says."""
        import httpx2

        until = time.monotonic() + self._timeout
        while True:
            try:
                response = self._http.request(method, link, **words)
            except httpx2.HTTPError as error:
                raise UserError(
                    f"no answer from {self._http.base_url}: {error}; is `refersat serve` running?"
                ) from error
            if response.is_success:
                return response
            wait = float(response.headers.get("Retry-After", "1"))
            if response.status_code != 503 or time.monotonic() + wait > until:
                raise UserError(f"the server refused: {_words(response)}")
            time.sleep(wait)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connection(address: str, token: str | None, timeout: float) -> httpx2.Client:
    try:
        import httpx2
    except ImportError:
        raise UserError("the client needs httpx2: pip install 'refersat[serve]'") from None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.Client(base_url=address, headers=headers, timeout=timeout)


def _words(response: httpx2.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason_phrase}"


def _named(image: str | Path | PIL.Image.Image | NDArray[np.uint8]) -> tuple[str, bytes]:
    """A name and the bytes of an image file."""
    if isinstance(image, (str, Path)):
        return Path(image).name, _content(Path(image))
    import PIL.Image

    picture = PIL.Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = BytesIO()
    picture.save(stream, "PNG")
    return "image.png", stream.getvalue()


def _content(path: Path) -> bytes:
    from refersat.imagery import require_file

    require_file(path)
    return path.read_bytes()


def _answer(document: Mapping[str, Any]) -> RemoteAnswer:
    outputs = document["outputs"]
    return RemoteAnswer(
        phrase=document["phrase"],
        present=document["found"],
        score=document["score"],
        mask=_grey(outputs["mask"]) > 0,
        probability=_grey(outputs["probability"]).astype(np.float32) / np.float32(255),
        polygons=outputs["polygons"],
        area=document["area"],
        area_unit=document["area_unit"],
    )


def _grey(text: str) -> NDArray[np.uint8]:
    import PIL.Image

    return np.asarray(PIL.Image.open(BytesIO(base64.b64decode(text))))
