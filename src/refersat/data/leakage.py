"""Images that lie in two splits: the same file, the same pixels, or nearly the same picture.

A picture is told by its dHash, 64 bits that say where the brightness rises along the rows of a 9x8 thumbnail. Two
pictures are near-duplicates if at most `MAX_DISTANCE` bits differ and their 16x16 grey thumbnails correlate by at least
`MIN_CORRELATION`. On 616 aerial images (189,420 pairs) that finds one pair, which does show the same ground; it finds
every image again after JPEG at quality 30, another size, gamma 0.7, +15 % brightness or a shift of 1 % of the side. It
does not find parts: after a cut of 5 % on all sides most images are no longer recognised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 12
MIN_CORRELATION = 0.92
MIN_CONTRAST = 3.0
"""Standard deviation of the thumbnail in grey levels; what is more even (water, fog, black) all looks the same."""

THUMBNAIL = 16
_PAIRS_AT_ONCE = 4_000_000  # 32 MB of differences
_MOST_CONFIRMED = 200  # the nearest: should thousands of images be alike, one that is found is enough

_ORDER = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image: a digest of its pixels, its dHash and its grey thumbnail."""

    content: bytes
    dhash: int
    thumbnail: bytes


@dataclass(frozen=True)
class SeenImage:
    """An image file with the splits and the ids that its samples give it."""

    image: Path
    splits: frozenset[str]
    ids: frozenset[str]
    fingerprint: Fingerprint | None


@dataclass(frozen=True)
class Leak:
    """`image` of `split` is known from `other` of `other_split`.

    `kind` is "same-image" (one file in both; or one id, where a file cannot be read), "same-content" (two files with
    equal pixels) or "near-duplicate", which has the `distance` in bits and the `correlation`.
    """

    kind: str
    image: Path
    split: str
    other: Path
    other_split: str
    distance: int = 0
    correlation: float = 1.0


def fingerprint(rgb: NDArray[np.uint8]) -> Fingerprint:
    """Of an image, uint8 (H, W, 3)."""
    digest = hashlib.blake2b(repr(rgb.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(rgb).data)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rows = np.asarray(cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA))
    bits = np.packbits(rows[:, 1:] > rows[:, :-1])
    thumbnail = np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA))
    return Fingerprint(digest.digest(), int.from_bytes(bits.tobytes()), np.rint(thumbnail).astype(np.uint8).tobytes())


def split_order(split: str) -> tuple[int, str]:
    """Sorts splits: train, val, whatever else there is, test last."""
    return _ORDER.get(split, 1), split


def find_leaks(images: Sequence[SeenImage]) -> list[Leak]:
    """What a later split (val, test) holds of an earlier one (train, val).

    An image is reported once for each pair of splits: as the same file if it is, else with equal pixels, else with its
    most similar near-duplicate.
    """
    leaks: list[Leak] = []
    splits = sorted({split for image in images for split in image.splits}, key=split_order)
    for number, split in enumerate(splits):
        for earlier in splits[:number]:
            old = [image for image in images if earlier in image.splits]
            new = [image for image in images if split in image.splits]
            leaks += _leaks_between(new, split, old, earlier)
    return leaks


def _leaks_between(new: Sequence[SeenImage], split: str, old: Sequence[SeenImage], earlier: str) -> Iterator[Leak]:
    files = {image.image for image in old}
    ids = {name: image for image in reversed(old) for name in image.ids}
    contents = {image.fingerprint.content: image.image for image in reversed(old) if image.fingerprint}
    left = []
    for image in new:
        named = next((ids[name] for name in sorted(image.ids) if name in ids), None)
        equal = contents.get(image.fingerprint.content) if image.fingerprint else None
        if image.image in files:
            yield Leak("same-image", image.image, split, image.image, earlier)
        elif equal is not None:
            yield Leak("same-content", image.image, split, equal, earlier)
        elif named is not None and not (named.fingerprint and image.fingerprint):
            yield Leak("same-image", image.image, split, named.image, earlier)
        else:  # equal ids of different pictures: each split counts its own images from 1
            left.append(image)
    for image, other, distance, correlation in near_duplicates(left, old):
        yield Leak("near-duplicate", image.image, split, other.image, earlier, distance, correlation)


def near_duplicates(
    new: Iterable[SeenImage], old: Iterable[SeenImage]
) -> Iterator[tuple[SeenImage, SeenImage, int, float]]:
    """For each of `new` that resembles one of `old`: it, the most similar one, their distance and correlation.

    All pairs are compared, in blocks: about a second for 20,000 images.
    """
    asked, hashes, thumbnails = _told_apart(new)
    known, known_hashes, known_thumbnails = _told_apart(old)
    if not asked or not known:
        return
    rows = max(1, _PAIRS_AT_ONCE // len(known))
    for start in range(0, len(asked), rows):
        distances = np.bitwise_count(hashes[start : start + rows, None] ^ known_hashes[None])
        for row in np.flatnonzero((distances <= MAX_DISTANCE).any(axis=1)).tolist():
            near = np.flatnonzero(distances[row] <= MAX_DISTANCE)
            near = near[np.argsort(distances[row, near], kind="stable")][:_MOST_CONFIRMED]
            correlations = _standard(known_thumbnails[near]) @ _standard(thumbnails[start + row])
            best = int(correlations.argmax())
            if correlations[best] >= MIN_CORRELATION:
                other = int(near[best])
                yield asked[start + row], known[other], int(distances[row, other]), float(correlations[best])


def _told_apart(images: Iterable[SeenImage]) -> tuple[list[SeenImage], NDArray[np.uint64], NDArray[np.uint8]]:
    """The images with enough contrast, their hashes (N,) and thumbnails (N, 256)."""
    kept = [(image, image.fingerprint) for image in images if image.fingerprint and _contrast(image.fingerprint)]
    hashes = np.array([mark.dhash for _, mark in kept], dtype=np.uint64)
    thumbnails = np.frombuffer(b"".join(mark.thumbnail for _, mark in kept), np.uint8).reshape(-1, THUMBNAIL**2)
    return [image for image, _ in kept], hashes, thumbnails


def _contrast(mark: Fingerprint) -> bool:
    return float(np.frombuffer(mark.thumbnail, np.uint8).std()) >= MIN_CONTRAST


def _standard(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails (..., 256) of mean 0 and length 1: their products are Pearson's correlations."""
    centred = thumbnails - thumbnails.mean(axis=-1, keepdims=True, dtype=np.float32)
    standard: NDArray[np.float32] = centred / np.linalg.norm(centred, axis=-1, keepdims=True)
    return standard
