"""The picture of a run: a panel for what was measured, lines where the log's numbers are."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from refersat.training import curves
from refersat.training.curves import draw_curves


def write(path: Path, steps: int, validations: dict[int, dict[str, Any]] | None = None) -> Path:
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        lines.append({"step": step, "loss": 5.0 / step, "rate": 1e-3})
        if step in (validations or {}):
            lines.append({"step": step, "validation": (validations or {})[step]})
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"step": steps, "resumed": True}]))
    return path


def picture(content: bytes | None) -> PIL.Image.Image:
    assert content is not None
    return PIL.Image.open(BytesIO(content))


def test_a_panel_more_where_something_was_measured(tmp_path: Path) -> None:
    scores = {"mIoU": 20.0, "oIoU": 30.0, "Pr@0.5": 10.0}
    plain = picture(draw_curves(write(tmp_path / "a", 20), name="mine"))
    measured = picture(draw_curves(write(tmp_path / "b", 20, {10: scores, 20: scores}), name="mine"))
    nothing = picture(draw_curves(write(tmp_path / "c", 20, {10: {}}), name="mine"))
    assert plain.format == "PNG"
    assert plain.size == nothing.size
    assert measured.width == plain.width
    panels = [image.height // ((curves._PANEL + curves._GAP) * 2) for image in (plain, measured)]  # two pixels for one
    assert panels == [2, 3]


def test_other_numbers_are_another_picture(tmp_path: Path) -> None:
    one, other = (np.asarray(picture(draw_curves(write(tmp_path / "a", steps), name="mine"))) for steps in (20, 21))
    assert one.shape == other.shape
    assert (one != other).any()


@pytest.mark.parametrize("steps", [1, 2, 399, 400, 401, 5000])
def test_long_runs_are_thinned(tmp_path: Path, steps: int) -> None:
    entries = [{"step": step, "loss": float(step)} for step in range(1, steps + 1)]
    points = curves._thinned(entries, "loss")
    assert len(points) <= 400
    assert points == sorted(points)
    assert points[-1] == (steps, float(steps))
    smoothed = curves._smoothed(entries, "loss")
    assert len(smoothed) <= 100
    assert smoothed[-1][0] == steps
    assert smoothed[0][1] == pytest.approx(np.mean([entry["loss"] for entry in entries[: max(1, steps // 50)]]))
    draw_curves(write(tmp_path / "log", steps), name="mine")


@pytest.mark.parametrize(("steps", "names"), [(99, {""}), (100, {"every step", "smoothed"})])
def test_a_short_run_has_nothing_to_smooth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, names: set[str]
) -> None:
    drawn: dict[str, set[str]] = {}
    monkeypatch.setattr(curves, "_draw", lambda drawing, panel, **_: drawn.update({panel.title: set(panel.lines)}))
    draw_curves(write(tmp_path / "log", steps), name="mine")
    assert drawn["loss"] == names


def test_a_single_measurement_is_seen(tmp_path: Path) -> None:
    orange = (217, 100, 30)
    seen = []
    for score in (30.0, float("nan")):
        scores = {20: {"mIoU": 20.0, "oIoU": score, "Pr@0.5": 10.0}}
        image = picture(draw_curves(write(tmp_path / str(score), 20, scores), name="mine")).convert("RGB")
        plot = np.asarray(image)[:, : 2 * (curves._WIDTH - curves._LEGEND + 26)]  # the legend has the colour, too
        seen.append(int((plot == orange).all(axis=-1).sum()))
    assert seen[0] > 50
    assert seen[1] == 0


def test_a_run_without_a_step_has_no_picture(tmp_path: Path) -> None:
    assert draw_curves(write(tmp_path / "log", 0), name="mine") is None
