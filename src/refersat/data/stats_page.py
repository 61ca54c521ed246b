"""The page of a data set: its numbers and charts in one HTML file, and every chart as a PNG."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

from refersat.data import charts
from refersat.data.stats import Stats
from refersat.output import write_file
from refersat.page.drawing import Drawing
from refersat.page.layout import Section, figure, page, tiles
from refersat.page.markup import Html, tag


def write_stats(folder: Path, stats: Stats) -> list[Path]:
    """Write `stats.html`, `stats.json` and one PNG for each chart; gives what was written.

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    drawings = draw_charts(stats)
    contents = {
        "stats.html": stats_page(stats, drawings).encode(),
        "stats.json": (json.dumps(stats.as_dict(), indent=1, ensure_ascii=False) + "\n").encode(),
        **{f"{name}.png": drawing.png() for name, drawing in drawings.items()},
    }
    for name, content in contents.items():
        write_file(folder / name, content)
    return [folder / name for name in contents]


def draw_charts(stats: Stats) -> dict[str, Drawing]:
    """The charts by the name of their file; those that would be empty are left out."""
    found: dict[str, Drawing] = {}
    if len(stats.splits) > 1:
        found["splits"] = charts.bars("Samples of each split", dict(stats.splits.most_common()))
    if stats.categories:
        found["categories"] = charts.bars("Samples of each category", dict(stats.categories.most_common()))
    found["phrase-types"] = charts.bars("Types of phrases", dict(stats.types.most_common()))
    lengths = charts.clipped(stats.lengths)
    found["phrase-lengths"] = charts.columns("Words in a phrase", lengths, x_label="words", of="phrases")
    per_image = charts.clipped(stats.phrases_per_image)
    if len(per_image) > 1:
        found["phrases-per-image"] = charts.columns("Phrases about an image", per_image, x_label="phrases", of="images")
    found["image-sizes"] = charts.bars("Sizes of images, in pixels", stats.sizes(), most=12)
    if stats.shares:
        found["target-areas"] = charts.columns("Size of targets", stats.areas(), x_label="% of the image", of="targets")
        highest = f"{100 * stats.coverage.max():.1f} % of targets"
        found["target-coverage"] = charts.heat_map("Where targets are", stats.coverage, scale=highest)
        highest = f"{stats.centres.max():,} targets"
        centres = stats.centres.astype(float)
        found["target-centres"] = charts.heat_map(
            "Where their centres are", centres, scale=highest, thirds=stats.thirds()
        )
    return found


_NOTES = {
    "phrase-types": "As the data set says; where it says nothing, by the words of the phrase.",
    "target-areas": "Share of the image that the target covers; a bound belongs to the class above it.",
    "target-coverage": "How often each part of the image belongs to the target.",
    "target-centres": "Centres of gravity, and their share in each ninth of the image.",
}
_SECTIONS = (
    (
        "samples",
        "Samples and phrases",
        ("splits", "categories", "phrase-types", "phrase-lengths", "phrases-per-image"),
    ),
    ("images", "Images and targets", ("target-coverage", "target-centres", "target-areas", "image-sizes")),
)


def stats_page(stats: Stats, drawings: dict[str, Drawing]) -> str:
    """One page that needs nothing else."""
    sections = []
    for key, title, names in _SECTIONS:
        figures = [
            figure(drawings[name].title, _NOTES.get(name, ""), drawings[name].svg())
            for name in names
            if name in drawings
        ]
        if figures:
            sections.append(Section(key, title, "", tag("div", *figures, class_="figures")))
    head = tag("p", "Data set", class_="kicker"), tag("h1", stats.name), _chips(stats), _headline(stats)
    return page(f"{stats.name}: data set", Html("".join(head)), sections)


def _chips(stats: Stats) -> Html:
    told = {"split": stats.split, "sha256 of the list": stats.fingerprint[:12]}
    return tag("p", *(tag("span", f"{name} ", tag("b", value)) for name, value in told.items()), class_="chips")


def _headline(stats: Stats) -> Html:
    numbers = [(f"{stats.samples:,}", "samples", f"about {stats.images:,} images")]
    numbers.append((f"{len(stats.phrases):,}", "different phrases", f"of {len(stats.words):,} different words"))
    if stats.categories:
        numbers.append(
            (f"{len(stats.categories):,}", "categories", f"most often {stats.categories.most_common(1)[0][0]}")
        )
    if stats.shares:
        share = 100 * median(stats.shares)
        numbers.append((f"{share:.2g} %", "of the image", "is what the median target covers"))
    if stats.absent:
        part = 100 * stats.absent / stats.samples
        numbers.append((f"{part:.0f} %", "of the phrases", f"name nothing in their image: {stats.absent:,}"))
    return tiles(
        *(
            tag(
                "div",
                tag("div", label, class_="label"),
                tag("div", value, class_="value"),
                tag("div", note, class_="note"),
                class_="tile",
            )
            for value, label, note in numbers
        )
    )
