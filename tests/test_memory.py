"""Memory that nobody uses goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest


# Only glibc has malloc_trim; elsewhere `give_back` does nothing, and there is nothing to test.
@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries keep what they like")
def test_memory_between_what_is_in_use_is_given_back() -> None:
    code = """
from refersat.memory import give_back
pieces = [bytearray(b"1" * 2**16) for _ in range(2048)]
def held(): return int(open("/proc/self/statm").read().split()[1]) * 4096
del pieces[:-1:2]  # holes of 64 KiB
before = held()
give_back()
print(before - held())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 2**25
