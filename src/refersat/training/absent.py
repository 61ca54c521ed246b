"""Phrases that name nothing in an image, taken from other images: what the presence score learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refersat.data.samples import Sample
from refersat.errors import UserError
from refersat.training.recipe import SampleData


@dataclass(frozen=True)
class AbsentPhrases:
    """Phrases by the category of what they name, and the categories that some phrase names in an image."""

    phrases: Mapping[str, Sequence[str]]
    seen: Mapping[Path, frozenset[str]]

    @classmethod
    def of(cls, samples: Sequence[Sample], data: SampleData) -> AbsentPhrases:
        """Those of samples with a category; `data.never_absent` are categories that may be there without a phrase.

        Raises:
            UserError: too few categories are known, or `data.never_absent` names others.
        """
        named = [(sample, sample.category) for sample in samples if sample.category is not None and not sample.absent]
        categories = {category for _, category in named}
        unknown = sorted(set(data.never_absent) - categories)
        if unknown:
            raise UserError(f"data.never_absent names no category of the data: {', '.join(unknown)}")
        phrases: dict[str, list[str]] = {}
        seen: dict[Path, set[str]] = {}
        for sample, category in named:
            seen.setdefault(sample.image, set()).add(category)
            if category not in data.never_absent:
                phrases.setdefault(category, []).append(sample.phrase)
        if len(categories) < 2 or not phrases:
            raise UserError(
                "data.absent takes phrases of a category that an image has not, but the data tells fewer than two "
                "categories: give data.absent=0 (samples that name nothing can be in the data themselves)"
            )
        return cls(phrases, {image: frozenset(names) for image, names in seen.items()})

    def choose(self, sample: Sample, rng: np.random.Generator) -> str | None:
        """A phrase of a category that no phrase about the sample's image names; None where that cannot be known."""
        if sample.image not in self.seen:
            return None
        others = [category for category in self.phrases if category not in self.seen[sample.image]]
        if not others:
            return None
        chosen = self.phrases[others[int(rng.integers(len(others)))]]
        return chosen[int(rng.integers(len(chosen)))]
