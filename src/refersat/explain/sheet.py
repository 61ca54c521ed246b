"""The sheet: a heading with phrase and verdict, below it the panels in rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import PIL.Image
from PIL import ImageDraw, ImageFont

from refersat.explain.one_stage import one_stage_panels
from refersat.explain.two_stages import two_stage_panels
from refersat.explain.view import SIDE, Panel
from refersat.models.pslg.system import PslgSteps
from refersat.overlay import CAPTION, MUTED, TEXT, wrapped
from refersat.painting import ABSENT, MASK

if TYPE_CHECKING:
    from refersat.result import Result

_COLUMNS = 5  # at most
_GAP = 20
_HEAD = 84
_TITLE, _DETAIL = 19, 15
_LINES = 4
_BELOW = 34 + _LINES * 20  # title and detail of a panel
_PAPER = (11, 13, 17)


def explain(result: Result) -> PIL.Image.Image:
    """How a model came to its answer, step by step as far as it has any, as one picture."""
    steps = result.steps
    panels = two_stage_panels(result, steps) if isinstance(steps, PslgSteps) else one_stage_panels(result, steps)
    return _sheet(result, panels)


def _sheet(result: Result, panels: list[Panel]) -> PIL.Image.Image:
    lines = -(-len(panels) // _COLUMNS)
    columns = -(-len(panels) // lines)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(panel.picture.shape[0] for panel in row) for row in rows]
    size = columns * (SIDE + _GAP) + _GAP, _HEAD + sum(heights) + len(rows) * _BELOW + _GAP
    sheet = PIL.Image.new("RGB", size, _PAPER)
    _heading(sheet, result)
    top, number = _HEAD, 0
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            number += 1
            _put(sheet, panel, number, _GAP + column * (SIDE + _GAP), top, height)
        top += height + _BELOW
    return sheet


def _put(sheet: PIL.Image.Image, panel: Panel, number: int, left: int, top: int, height: int) -> None:
    """Draw a panel into a cell whose picture is `SIDE` wide and `height` high."""
    draw = ImageDraw.Draw(sheet)
    title_font, font = ImageFont.load_default(_TITLE), ImageFont.load_default(_DETAIL)
    own_height, own_width = panel.picture.shape[:2]
    draw.rectangle((left, top, left + SIDE - 1, top + height - 1), fill=CAPTION)
    corner = left + (SIDE - own_width) // 2, top + (height - own_height) // 2
    sheet.paste(PIL.Image.fromarray(panel.picture), corner)
    draw.text((left, top + height + 8), f"{number}  {panel.title}", font=title_font, fill=TEXT)
    for line, text in enumerate(wrapped(panel.detail, font, SIDE, _LINES)):
        draw.text((left, top + height + 34 + 19 * line), text, font=font, fill=MUTED)


def _heading(sheet: PIL.Image.Image, result: Result) -> None:
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(26), ImageFont.load_default(16)
    verdict, colour = (f"found, score {result.score:.2f}", MASK) if result.present else ("not found", ABSENT)
    detail = f"model {result.model}, {result.seconds:.2f} s" + ("" if result.present else f", score {result.score:.2f}")
    draw.rectangle((0, 0, 6, _HEAD - 18), fill=colour)
    right = max(font.getlength(verdict), small.getlength(detail))
    lines = wrapped(result.phrase, font, sheet.width - 3 * _GAP - right, 2)
    for number, line in enumerate(lines):
        draw.text((_GAP, 10 + 30 * number), line, font=font, fill=TEXT)
    draw.text((sheet.width - _GAP, 10), verdict, font=font, fill=colour, anchor="ra")
    draw.text((sheet.width - _GAP, 44), detail, font=small, fill=MUTED, anchor="ra")
