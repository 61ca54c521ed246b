"""A contact sheet of random samples: the truth outlined in green, the answer tinted in magenta.

    python benchmarks/gallery.py --model built-in --data triplets:FOLDER --count 48 --seed 0 --out gallery.png

The samples are drawn by the seed, not chosen: what the sheet shows is what the model does. Under each one stand the
phrase, its IoU on the image's own pixels (a phrase that names nothing has none), and the score.
"""

from __future__ import annotations

import textwrap
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from refersat.data.samples import Sample
    from refersat.result import Result

TILE = 400  # px; an image is scaled to fit
PHRASE_LINES = 3
LINE = 17
CAPTION = (PHRASE_LINES + 1) * LINE + 14
GAP = 12
HEADER = 44

PAGE = (250, 250, 248)
INK = (28, 30, 34)
MUTED = (112, 116, 124)
GOOD, FAIR, BAD = (22, 128, 60), (176, 112, 0), (190, 30, 45)
TRUTH, HALO = (40, 255, 80), (0, 40, 10)
ANSWER = (255, 40, 120)


def gallery(
    data: Annotated[str, typer.Option(metavar="KIND:PATH", help="The data set, for example triplets:FOLDER.")],
    out: Annotated[Path, typer.Option(metavar="FILE.png")],
    model: Annotated[str, typer.Option(metavar="NAME|FOLDER")] = "built-in",
    split: Annotated[str, typer.Option()] = "all",
    count: Annotated[int, typer.Option(min=1, help="Samples on the sheet.")] = 48,
    columns: Annotated[int, typer.Option(min=1)] = 6,
    seed: Annotated[int, typer.Option(help="Draws the samples.")] = 0,
    device: Annotated[str, typer.Option()] = "auto",
) -> None:
    """Draw random samples of a data set with a model's answers."""
    import random

    from rich.console import Console
    from rich.progress import track

    import refersat
    from refersat.data.sources import read_samples
    from refersat.output import output_folder, write_file

    samples = read_samples(data, split=split).samples
    chosen = random.Random(seed).sample(samples, min(count, len(samples)))
    with output_folder(out.parent):
        segmenter = refersat.load(model, device=device)
        results = segmenter.stream((str(sample.image), sample.phrase) for sample in chosen)
        shown = track(results, "Answering", total=len(chosen), console=Console(stderr=True))
        tiles = [draw_tile(sample, result) for sample, result in zip(chosen, shown, strict=True)]
        title = f"{segmenter.name}: {len(tiles)} of {len(samples)} samples drawn with seed {seed}"
        file = BytesIO()
        draw_sheet(tiles, title, columns=min(columns, len(tiles))).save(file, "PNG", optimize=True)
        write_file(out, file.getvalue())
    typer.echo(str(out))


def draw_tile(sample: Sample, result: Result) -> Image.Image:
    """One sample: picture and caption below it, RGB, TILE px wide."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    from refersat.evaluation.metrics import iou, overlap

    truth = np.zeros_like(result.mask) if sample.load_mask is None else sample.load_mask()
    picture = Image.fromarray(draw_masks(result.image.rgb, result.mask, truth))
    tile = Image.new("RGB", (TILE, picture.height + CAPTION), PAGE)
    tile.paste(picture, (0, 0))
    draw = ImageDraw.Draw(tile)
    font = ImageFont.load_default(13)
    if sample.load_mask is None:
        verdict, colour = ("absent, painted", BAD) if result.mask.any() else ("absent, left empty", GOOD)
    else:
        value = iou(*overlap(result.mask, truth))
        verdict, colour = f"IoU {100 * value:.0f}", GOOD if value >= 0.5 else FAIR if value >= 0.25 else BAD
    y = picture.height + 6
    draw.text((0, y), verdict, font=font, fill=colour)
    draw.text((TILE, y), f"score {result.score:.2f}", font=font, fill=MUTED, anchor="ra")
    for number, line in enumerate(textwrap.wrap(sample.phrase, 56, max_lines=PHRASE_LINES, placeholder=" …"), start=1):
        draw.text((0, y + number * LINE), line, font=font, fill=INK)
    return tile


def draw_masks(rgb: NDArray[np.uint8], answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image (H, W, 3) scaled to fit a tile, with the answer tinted and the truth outlined."""
    import cv2
    import numpy as np

    scale = TILE / max(answer.shape)
    size = max(1, round(answer.shape[1] * scale)), max(1, round(answer.shape[0] * scale))
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tint = cv2.resize(answer.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)[..., None] * 0.45
    picture = np.rint(picture * (1 - tint) + np.array(ANSWER) * tint).astype(np.uint8)
    outline = cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    for colour, distance in ((TRUTH, 1), (HALO, 2)):  # around the target, so that a small one stays visible
        around = cv2.dilate(outline, np.ones((2 * distance + 1, 2 * distance + 1), np.uint8))
        contours, _ = cv2.findContours(around, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1)
    return np.asarray(picture)


def draw_sheet(tiles: list[Image.Image], title: str, *, columns: int) -> Image.Image:
    """The tiles in rows under a title and the legend."""
    from PIL import Image, ImageDraw, ImageFont

    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) + GAP for row in rows]
    sheet = Image.new("RGB", (columns * (TILE + GAP) + GAP, HEADER + sum(heights)), PAGE)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(17)
    draw.text((GAP, HEADER // 2), title, font=font, fill=INK, anchor="lm")
    x = GAP + font.getlength(title) + 2 * GAP
    for colour, name in ((TRUTH, "truth"), (ANSWER, "answer")):
        draw.rectangle((x, HEADER // 2 - 7, x + 14, HEADER // 2 + 7), fill=colour, outline=INK)
        draw.text((x + 20, HEADER // 2), name, font=font, fill=MUTED, anchor="lm")
        x += 20 + font.getlength(name) + GAP
    for number, row in enumerate(rows):
        for column, tile in enumerate(row):
            sheet.paste(tile, (GAP + column * (TILE + GAP), HEADER + sum(heights[:number])))
    return sheet


if __name__ == "__main__":
    try:
        typer.run(gallery)
    except UserError as error:
        raise SystemExit(f"gallery: {error}") from None
