"""Memory depends on a scene's width and the tile, and not on its height."""

from __future__ import annotations

import pytest
import scenes as benchmark


@pytest.mark.slow
def test_a_scene_four_times_as_high_needs_no_more_memory() -> None:
    low, high = (benchmark.measure_apart(1500, height, tile=256, limit_gb=1.0) for height in (1500, 6000))
    assert high["objects"] > low["objects"]
    assert high["peak_mb"] < low["peak_mb"] + 60
    assert 20 < high["peak_mb"] < 400


@pytest.mark.slow
def test_a_scene_30000_pixels_wide_stays_below_the_limit() -> None:
    """Two rows of tiles are all that is ever held of it, however high it is."""
    wide = benchmark.measure_apart(30_000, 1700, limit_gb=1.5)
    assert wide["objects"] > 1000
    assert 200 < wide["peak_mb"] < 1500


@pytest.mark.slow
def test_the_limit_of_the_measurement_is_one() -> None:
    with pytest.raises(RuntimeError, match="1500 x 1500"):
        benchmark.measure_apart(1500, 1500, tile=256, limit_gb=0.02)
