"""The data sets of an evaluation, as one list of questions in the best order for the model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refersat.data.samples import Sample, SampleSet
from refersat.data.sources import read_samples
from refersat.errors import UserError
from refersat.evaluation.reading import Question


@dataclass(frozen=True)
class QuestionList:
    """Every sample that is to be asked.

    Attributes:
        sources: KIND:PATH of each data set, as given.
        names: what each is called, unique.
        sets: the data sets, in the same order, whole.
        limit: how many samples were taken of each, None for all.
        questions: numbered from 0 in the order of the data sets.
    """

    sources: tuple[str, ...]
    names: tuple[str, ...]
    sets: tuple[SampleSet, ...]
    limit: int | None
    questions: tuple[Question, ...]

    @property
    def fingerprint(self) -> str:
        """Of the files that list the samples: that of the data set, or a digest of them all."""
        if len(self.sets) == 1:
            return self.sets[0].fingerprint
        return hashlib.sha256(" ".join(data.fingerprint for data in self.sets).encode()).hexdigest()

    def by_image(self) -> list[Question]:
        """The questions with those about one image side by side, so that it is read once."""
        first: dict[Path, int] = {}
        for question in self.questions:
            first.setdefault(question.sample.image, question.number)
        return sorted(self.questions, key=lambda question: (first[question.sample.image], question.number))


def read_questions(sources: Sequence[str], *, split: str, limit: int | None = None) -> QuestionList:
    """List the samples of one or more KIND:PATH, at most `limit` of each.

    Raises:
        UserError: data that is missing or malformed, given twice, or without masks.
    """
    sets = tuple(read_samples(source, split=split) for source in sources)
    names = _names(sources, sets)
    questions: list[Question] = []
    for source, name, data in zip(sources, names, sets, strict=True):
        chosen = data.samples[:limit]
        _require_masks(source, chosen)
        questions += [Question(number, sample, name) for number, sample in enumerate(chosen, start=len(questions))]
    return QuestionList(tuple(sources), names, sets, limit, tuple(questions))


def _names(sources: Sequence[str], sets: Sequence[SampleSet]) -> tuple[str, ...]:
    twice = [source for source, times in Counter(sources).items() if times > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice")
    times = Counter(data.name for data in sets)
    # Folders of one name in different places: then the places tell them apart.
    return tuple(data.name if times[data.name] == 1 else source for source, data in zip(sources, sets, strict=True))


def _require_masks(source: str, samples: Sequence[Sample]) -> None:
    for sample in samples:
        if sample.load_mask is None and not sample.absent:
            boxes = "boxes but no mask" if sample.boxes else "no mask"
            raise UserError(
                f"{source}: sample {sample.id} has {boxes}, and every measure here compares masks; a phrase that names "
                "nothing must be marked as such"
            )
