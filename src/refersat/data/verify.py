"""Is a data set what its authors published, whole, and free of leaks between its splits?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from refersat.data.checks import FAULTS, Fault, ImageCheck, check_group, mask_file
from refersat.data.leakage import Leak, SeenImage, find_leaks, split_order
from refersat.data.published import PUBLISHED, PublishedSet
from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.data.scan import ImageGroup, group_by_image, scan


@dataclass(frozen=True)
class SplitCount:
    """Samples of a split by their truth, its images, and the samples that its authors published, if they did."""

    samples: int
    images: int
    masks: int
    boxes_only: int
    absent: int
    published: int | None


@dataclass(frozen=True)
class Verification:
    """What was found; `splits` is in the order train, val, others, test, `faults` in the order of `FAULTS`."""

    name: str
    fingerprint: str
    splits: dict[str, SplitCount]
    faults: tuple[Fault, ...]

    @property
    def usable(self) -> bool:
        """Whether an evaluation can run over all of it and count rightly."""
        return not any(fault.fatal for fault in self.faults)

    def by_kind(self) -> dict[str, list[Fault]]:
        """The faults under the kinds that there are."""
        found: dict[str, list[Fault]] = {}
        for fault in self.faults:
            found.setdefault(fault.kind, []).append(fault)
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "usable": self.usable,
            "splits": {name: asdict(count) for name, count in self.splits.items()},
            "fault_counts": {kind: len(faults) for kind, faults in self.by_kind().items()},
            "faults": [asdict(fault) | {"fatal": fault.fatal} for fault in self.faults],
        }


def verify_samples(
    data_set: SampleSet, *, kind: str, workers: int | None = None, on_image: Callable[[], None] = lambda: None
) -> Verification:
    """Look at every file of a data set, all splits of it.

    One image with its masks is in memory at a time (for each worker); of each, some 300 bytes are kept.

    Args:
        data_set: listed without looking for its files, so that missing ones can be counted.
        kind: of the data, as in KIND:PATH: whose published counts to compare with.
        workers: processes, see `scan`.
        on_image: called after each image.
    """
    published = PUBLISHED.get(kind)
    groups = group_by_image(data_set.samples)
    faults = [Fault("listing", "", message) for message in data_set.faults]
    if not data_set.samples:
        faults.append(Fault("no-samples", "", f"{data_set.name} has no sample that could be read"))
    seen: list[SeenImage] = []
    for group, check in zip(groups, scan(check_group, groups, workers=workers), strict=True):
        faults += _with_what_is_known(check, group, published)
        seen.append(_seen(group, check))
        on_image()
    splits = _count(data_set.samples, published)
    faults += _repetitions(data_set.samples)
    faults += _wrong_counts(splits, published)
    faults += (_fault_of(leak, published) for leak in find_leaks(seen))
    order = list(FAULTS)
    faults.sort(key=lambda fault: order.index(fault.kind))  # stable: within a kind as they lie in the data set
    return Verification(data_set.name, data_set.fingerprint, splits, tuple(faults))


def _seen(group: ImageGroup, check: ImageCheck) -> SeenImage:
    splits = frozenset(sample.split for sample in group.samples if sample.split)
    ids = frozenset(sample.image_id for sample in group.samples if sample.image_id)
    return SeenImage(group.image, splits, ids, check.fingerprint)


def _with_what_is_known(check: ImageCheck, group: ImageGroup, published: PublishedSet | None) -> Iterator[Fault]:
    known = published is not None and group.image.stem in published.empty_masks
    for fault in check.faults:
        if known and fault.kind == "mask-empty":
            yield Fault(fault.kind, fault.file, f"{fault.message}, as published", fault.split, fault.sample)
        else:
            yield fault


def _count(samples: Sequence[Sample], published: PublishedSet | None) -> dict[str, SplitCount]:
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        members.setdefault(sample.split or ALL_SPLITS, []).append(sample)
    wanted = published.counts if published else {}
    return {
        split: SplitCount(
            samples=len(members.get(split, ())),
            images=len({sample.image for sample in members.get(split, ())}),
            masks=sum(sample.load_mask is not None and not sample.absent for sample in members.get(split, ())),
            boxes_only=sum(sample.load_mask is None and bool(sample.boxes) for sample in members.get(split, ())),
            absent=sum(sample.absent for sample in members.get(split, ())),
            published=wanted.get(split),
        )
        for split in sorted({*members, *wanted}, key=split_order)
    }


def _wrong_counts(splits: dict[str, SplitCount], published: PublishedSet | None) -> Iterator[Fault]:
    if published is None:
        return
    for name, count in splits.items():
        if count.samples != count.published:
            told = "none" if count.published is None else f"{count.published:,}"
            message = f"{count.samples:,} samples in {name}; {published.name} has {told}"
            yield Fault("count", "", message, name)


def _repetitions(samples: Sequence[Sample]) -> Iterator[Fault]:
    ids = Counter(sample.id for sample in samples)
    asked: dict[tuple[str | None, str, str], str] = {}
    for sample in samples:
        if ids[sample.id] > 1:
            message = f"{ids[sample.id]} samples are called so"
            yield Fault("id-twice", str(mask_file(sample) or sample.image), message, sample.split, sample.id)
        question = (sample.split, str(sample.image), " ".join(sample.phrase.lower().split()))
        first = asked.setdefault(question, sample.id)
        if first != sample.id:
            message = f"asks what sample {first} asks: {sample.phrase!r}"
            yield Fault("asked-twice", str(sample.image), message, sample.split, sample.id)


def _fault_of(leak: Leak, published: PublishedSet | None) -> Fault:
    where = f"{leak.other} of {leak.other_split}"
    message = {
        "same-image": f"lies in {leak.other_split}, too" if leak.other == leak.image else f"is the image of {where}",
        "same-content": f"has the same pixels as {where}",
        "near-duplicate": f"resembles {where} ({leak.distance} of 64 bits differ, correlation {leak.correlation:.3f})",
    }[leak.kind]
    known = published is not None and published.shares_images and leak.kind == "same-image"
    return Fault(leak.kind, str(leak.image), f"{message}, as published" if known else message, leak.split)
