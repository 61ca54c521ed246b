"""The command line starts quickly, and every failure is one line and the right exit code."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest
import typer

import refersat
from refersat.cli import main as command_line
from refersat.errors import UserError

COMMANDS = ["predict", "scene", "serve", "models", "data", "evaluate", "train", "doctor"]
HEAVY = {"torch", "transformers", "numpy", "cv2", "rasterio", "pyogrio", "PIL"}
STARTS = {
    "import refersat": ["-c", "import refersat"],
    "refersat --help": ["-m", "refersat", "--help"],
}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "refersat", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def failing(error: BaseException) -> Callable[..., None]:
    def app(**_: object) -> None:
        raise error

    return app


@pytest.mark.parametrize("words", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_help_loads_no_heavy_library(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "refersat", *words], capture_output=True, text=True, check=True
    )
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, flags=re.MULTILINE))
    assert "typer" in imported  # the trace was read rightly
    assert not imported & HEAVY


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import refersat, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY


@pytest.mark.parametrize("words", STARTS.values(), ids=STARTS.keys())
def test_start_takes_less_than_three_tenths_of_a_second(words: list[str]) -> None:
    # Processor time, not the clock's: the tests may share the machine. The best of five leaves out the cold start.
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


def test_help_names_every_command() -> None:
    listed = run("--help").stdout
    assert [command for command in COMMANDS if not re.search(rf"^\W*{command}\b", listed, flags=re.MULTILINE)] == []


def test_no_words_print_the_help() -> None:
    bare, asked = run(), run("--help")
    assert bare.returncode == 0
    assert bare.stdout == asked.stdout


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"refersat {refersat.__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["predict", "--no-such-option"],
        ["predict"],
        ["models"],
        ["predict", "no-such-image.png", "-t", "the ship"],
        ["predict", "no-such-image.png", "-t", "the ship", "--threshold", "much"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_code_2(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"refersat: error: .+\n", done.stderr)


def test_a_users_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command_line, "app", failing(UserError("the image\nis empty")))
    assert command_line.main(["predict"]) == 2
    assert capsys.readouterr() == ("", "refersat: error: the image is empty\n")


def test_an_unexpected_error_is_one_line_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REFERSAT_DEBUG", raising=False)
    monkeypatch.setattr(command_line, "app", failing(RuntimeError("shape\nmismatch")))
    assert command_line.main(["predict"]) == 1
    line = "refersat: error: RuntimeError: shape mismatch (set REFERSAT_DEBUG=1 for the traceback)\n"
    assert capsys.readouterr() == ("", line)


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REFERSAT_DEBUG", "1")
    monkeypatch.setattr(command_line, "app", failing(RuntimeError("shape mismatch")))
    assert command_line.main(["predict"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_inside_a_command_is_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "app", app)
    assert command_line.main(["--"]) == 130
    assert capsys.readouterr() == ("", "refersat: interrupted\n")


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "refersat", "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
