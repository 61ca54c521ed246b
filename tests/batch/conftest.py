"""Catalogues for batches, and drivers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch import stand_in
from tests.batch.drivers import ENVIRONMENT, Start


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with five images and a file that is none."""
    stand_in.write_images(tmp_path / "images", 5)
    (tmp_path / "images" / "broken.tif").write_text("not an image", encoding="utf-8")
    return tmp_path / "images"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `tests.batch.stand_in` with words and a time for each answer; what is left of it at the end is killed."""
    begun = []

    def begin(*words: object, seconds: float = 0.0) -> subprocess.Popen[str]:
        environment = {**os.environ, **ENVIRONMENT, stand_in.SECONDS: str(seconds)}
        with (tmp_path / "driver.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.batch.stand_in", *map(str, words)],
                env=environment,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    sys.stdout.write((tmp_path / "driver.log").read_text())  # pytest shows it where a test failed
