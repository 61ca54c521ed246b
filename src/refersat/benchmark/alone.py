"""Runs what is measured in a process of its own, so that the peak of memory is its alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def run_alone(module: str, request: str, told: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object that a module prints.

    Args:
        module: run as `python -m`.
        request: its only argument.
        told: what it is called if it fails.
        environment: variables beside those of this process.

    Raises:
        RuntimeError: it failed; with the last line that it wrote.
    """
    command = [sys.executable, "-m", module, request]
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{told} failed with exit code {done.returncode}: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
