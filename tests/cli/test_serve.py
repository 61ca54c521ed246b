"""`refersat serve`: mistakes cost one line, and a real server answers and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from refersat.cli.main import main

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--host", "0.0.0.0"], "give a --token, or set REFERSAT_TOKEN"),
        (["--host", "::"], "give a --token"),
        (["--token", "short"], "at least 8 characters"),
        (["--cors", "*"], "an origin looks like"),
        (["--allow-remote", "everything"], "--allow-remote takes"),
        (["--root-path", "maps"], "--root-path begins"),
        (["--share", "2"], "share"),
        (["--host", "no.such.host.invalid", "--token", "long-enough"], "cannot listen on"),
        (["--port", "0", "missing.tif"], "no such image: missing.tif"),
    ],
)
def test_mistakes_cost_one_line(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, fake_model: object, words: list[str], reason: str
) -> None:
    monkeypatch.delenv("REFERSAT_TOKEN", raising=False)
    assert main(["serve", "--data", str(tmp_path / "data"), *words]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert reason in captured.err


def test_a_missing_library_is_told_before_anything_is_loaded(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fastapi" else object())
    assert main(["serve"]) == 2
    assert "pip install 'refersat[serve]'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_built_in_model_is_served_and_ends_when_asked(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples"
    words = ["serve", str(examples), "--port", "0", "--data", str(tmp_path / "data")]
    command = [sys.executable, "-m", "refersat", *words]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line.startswith("Listening on http://127.0.0.1:")
        with httpx2.Client(base_url=line.split()[2], timeout=120) as client:
            assert {scene["id"] for scene in client.get("/v1/scenes").json()["scenes"]} == {"bridge", "cars", "ships"}
            found = client.post("/v1/segment", data={"scene": "cars", "phrases": "all vehicles"}).json()
            assert found["answers"][0]["objects"] > 3
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
