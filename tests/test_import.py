"""`import refersat` offers what a user needs, and loads it only when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import refersat


def test_the_names_of_the_package_are_the_objects_of_its_modules() -> None:
    from refersat.result import Result
    from refersat.segmenter import Segmenter, load

    assert (refersat.Result, refersat.Segmenter, refersat.load) == (Result, Segmenter, load)
    assert set(refersat.__all__) <= set(dir(refersat))


def test_other_names_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        refersat.nonsense  # noqa: B018


def test_results_and_segmenters_are_described_without_pytorch() -> None:
    loaded = "print('torch' in sys.modules)"
    code = f"import refersat, sys; refersat.Result; {loaded}; refersat.load; {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
