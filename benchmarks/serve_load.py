"""Many clients at once: no answer lost or mixed up, memory flat, and how long they wait.

Asks the built-in model about cuttings of the example images first, alone and offline; then starts `refersat serve` and
lets clients ask the same over loopback. Each answer must equal the offline one: mask, probabilities to 1/255, score.
Ends with 1 where one does not, where one is lost, or where the server's memory grows.

    python benchmarks/serve_load.py --clients 64 --seconds 120
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

import refersat

EXAMPLES = Path(__file__).parent.parent / "examples"
PHRASES = ("all vehicles", "all ships", "the bridge", "the airplane", "the ship in the middle")
SIDE = 320  # pixels of a cutting
GROWTH = 0.10  # of the memory between the run's second and last quarter, beyond which it counts as growing
SCORE = 2e-4  # another batch rounds otherwise
STEPS = 1  # of 255, for the same reason
TOLERATED = 1e-3  # share of pixels that may lie so near to the threshold that they fall on its other side


@dataclass(frozen=True, eq=False)
class Case:
    """An image with phrases, and what the model answers offline."""

    content: bytes
    phrases: tuple[str, ...]
    expected: list[refersat.Result]


@dataclass
class Tally:
    """What happened."""

    seconds: list[float] = field(default_factory=list)
    answers: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    exact: int = 0
    memory: list[float] = field(default_factory=list)


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    cases = make_cases(options.images, options.device)
    print(f"{len(cases)} questions answered offline", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        words = ["serve", "--port", "0", "--data", folder, "--device", options.device, "--timeout", "600"]
        server = subprocess.Popen([sys.executable, "-m", "refersat", *words], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[2]
            return report(asyncio.run(load(address, cases, options.clients, options.seconds)), options.clients)
        finally:
            server.terminate()
            server.wait(300)


def make_cases(count: int, device: str) -> list[Case]:
    """Cuttings of the examples, each with one to three phrases, and their answers."""
    chance = random.Random(0)
    images = [np.asarray(PIL.Image.open(path).convert("RGB")) for path in sorted(EXAMPLES.glob("*.[tj][ip][fg]"))]
    segmenter = refersat.load(device=device)
    cases = []
    for number in range(count):
        rgb = images[number % len(images)]
        top, left = (chance.randrange(max(1, side - SIDE)) for side in rgb.shape[:2])
        cutting = np.ascontiguousarray(rgb[top : top + SIDE, left : left + SIDE])
        stream = BytesIO()
        PIL.Image.fromarray(cutting).save(stream, "PNG")
        phrases = tuple(chance.sample(PHRASES, 1 + number % 3))
        expected = [segmenter(cutting, phrase) for phrase in phrases]
        cases.append(Case(stream.getvalue(), phrases, expected))
    return cases


async def load(address: str, cases: list[Case], clients: int, seconds: float) -> Tally:
    """Let clients ask one question after another until the time is over, and then wait for their last answers."""
    tally, until = Tally(), time.monotonic() + seconds
    limits = httpx2.Limits(max_connections=clients + 1)
    async with httpx2.AsyncClient(base_url=address, timeout=900, limits=limits) as http:
        watching = asyncio.create_task(watch(http, tally))
        await asyncio.gather(*(ask(http, cases, random.Random(number), until, tally) for number in range(clients)))
        watching.cancel()
    return tally


async def ask(http: httpx2.AsyncClient, cases: list[Case], chance: random.Random, until: float, tally: Tally) -> None:
    """One client."""
    while time.monotonic() < until:
        case = chance.choice(cases)
        began = time.monotonic()
        try:
            response = await http.post(
                "/v1/segment",
                data={"phrases": list(case.phrases), "outputs": ["mask", "probability"]},
                files={"image": ("a.png", case.content)},
            )
        except httpx2.HTTPError as error:
            tally.lost.append(repr(error))
            continue
        if response.status_code == 503:
            tally.refused += 1
            await asyncio.sleep(float(response.headers["Retry-After"]))
            continue
        tally.seconds.append(time.monotonic() - began)
        if response.status_code != 200:
            tally.lost.append(response.text)
            continue
        check(case, response.json()["answers"], tally)


def check(case: Case, answers: list[dict[str, Any]], tally: Tally) -> None:
    """Compare an answer with the offline one."""
    if [one["phrase"] for one in answers] != list(case.phrases):
        tally.wrong.append("other phrases")
        return
    for answer, expected in zip(answers, case.expected, strict=True):
        tally.answers += 1
        mask, probability = (decoded(answer["outputs"][name]) for name in ("mask", "probability"))
        if mask.shape != expected.mask.shape:
            tally.wrong.append("another size")
            continue
        other = float(np.mean((mask > 0) != expected.mask))
        steps = 0
        if expected.present:
            wanted = np.rint(expected.probability * np.float32(255)).astype(int)
            steps = int(np.abs(probability.astype(int) - wanted).max())
        score = abs(answer["score"] - expected.score)
        same = answer["found"] == expected.present
        tally.exact += same and other == 0 and steps == 0
        if not same or other > TOLERATED or steps > STEPS or score > SCORE:
            tally.wrong.append(f"{expected.phrase}: {other:.2%} of the mask, {steps} steps, score off by {score:.1e}")


def decoded(text: str) -> NDArray[np.uint8]:
    """A PNG in base64."""
    return np.asarray(PIL.Image.open(BytesIO(base64.b64decode(text))))


async def watch(http: httpx2.AsyncClient, tally: Tally) -> None:
    """Note the server's memory."""
    while True:
        shown = (await http.get("/metrics")).text
        line = next(line for line in shown.splitlines() if line.startswith("process_resident_memory_bytes"))
        tally.memory.append(float(line.split()[1]) / 2**20)
        await asyncio.sleep(0.5)


def report(tally: Tally, clients: int) -> int:
    """Print the numbers; 1 where something is not as it should be."""
    quarter = max(1, len(tally.memory) // 4)
    second, last = np.mean(tally.memory[quarter : 2 * quarter]), np.mean(tally.memory[-quarter:])
    growth = float(last / second - 1)
    p50, p99 = np.percentile(tally.seconds, (50, 99))
    print(f"clients            {clients} (on {os.cpu_count()} cores)")
    print(f"requests           {len(tally.seconds)}, {tally.refused} more were told to come back (503)")
    print(f"answers            {tally.answers}, {tally.exact} of them equal to the offline ones in every bit")
    print(f"lost               {len(tally.lost)} {tally.lost[:3] or ''}")
    print(f"wrong              {len(tally.wrong)} {tally.wrong[:3] or ''}")
    print(f"seconds            p50 {p50:.2f}, p99 {p99:.2f}")
    print(f"memory             {second:.0f} MiB in the second quarter, {last:.0f} in the last ({growth:+.1%})")
    return int(bool(tally.lost or tally.wrong) or growth > GROWTH or not tally.answers)


if __name__ == "__main__":
    sys.exit(main())
