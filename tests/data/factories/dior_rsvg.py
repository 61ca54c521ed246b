"""Makes DIOR-RSVG: XML files in the manner of Pascal VOC, and splits that count objects over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from tests.data.factories.pictures import save_picture

SIZE = (80, 60)
"""Width and height of the pictures."""

IMAGES: Mapping[str, Sequence[tuple[str, tuple[int, int, int, int], str]]] = {
    "00011": [("windmill", (10, 20, 30, 50), "A windmill on the upper left")],
    "00012": [
        ("vehicle", (1, 2, 9, 8), "The vehicle on the left"),
        ("vehicle", (40, 30, 52, 41), "The red & white vehicle"),
    ],
    "00110": [("Expressway-Service-area", (5, 5, 79, 59), "The service area"), ("dam", (0, 0, 8, 60), "A dam")],
}
"""Objects 0 to 4: image -> category, box and description."""

SPLITS: Mapping[str, Sequence[int]] = {"train": (0, 2), "val": (3,), "test": (1, 4)}
"""The two vehicles of one image lie in different splits, as they do in the original."""


def make_dior_rsvg(
    folder: Path,
    images: Mapping[str, Sequence[tuple[str, tuple[int, int, int, int], str]]] = IMAGES,
    splits: Mapping[str, Sequence[int]] = SPLITS,
    *,
    pictures: bool = True,
) -> Path:
    """Write Annotations, JPEGImages and the split files; returns the folder."""
    (folder / "Annotations").mkdir(parents=True)
    # Written in another order than that of the names, so that a reader has to sort them.
    for k, (stem, objects) in enumerate(reversed(images.items())):
        (folder / "Annotations" / f"{stem}.xml").write_text(annotation(f"{stem}.jpg", objects))
        if pictures:
            save_picture(folder / "JPEGImages" / f"{stem}.jpg", *SIZE, seed=k)
    for name, numbers in splits.items():
        (folder / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))
    return folder


def annotation(file_name: str, objects: Sequence[tuple[str, tuple[int, int, int, int], str]]) -> str:
    """One XML file."""
    described = "".join(
        f"""
    <object>
        <name>{name}</name>
        <pose>Unspecified</pose>
        <bndbox>
            <xmin>{box[0]}</xmin>
            <ymin>{box[1]}</ymin>
            <xmax>{box[2]}</xmax>
            <ymax>{box[3]}</ymax>
        </bndbox>
        <description>{escape(description)}</description>
    </object>"""
        for name, box, description in objects
    )
    return f"""<annotation>
    <filename>{file_name}</filename>
    <source>
        <database>DIOR</database>
    </source>
    <size>
        <width>{SIZE[0]}</width>
        <height>{SIZE[1]}</height>
        <depth>3</depth>
    </size>
    <segmented>0</segmented>{described}
</annotation>
"""
