"""Which of the objects in an image a phrase means, from where they are, how large, and what kind.

Not part of RS2-SAM 2. "The second airplane from the left" is said of a layout, not of pixels: what tells objects apart
is learned here from boxes and features alone, from many more phrases than a mask decoder could be shown in the same
time. Sources: geometry between objects as a bias of attention (Hu et al., "Relation networks for object detection",
CVPR 2018, section 3.2); the rest is a plain transformer with norms first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.candidates import Survey
from refersat.models.filled_boxes import filling
from refersat.models.hiera import per_phrase
from refersat.models.instances import find_instances, most
from refersat.models.sightings import Objects, Sighting, Sightings, gathered
from refersat.models.tracing import surely

INSTANCES = 64
"""Objects of an image that are told apart."""

WIDTH = 80
HEADS = 4
WORD_LAYERS = 2
LAYERS = 3
FREQUENCIES = 4
GEOMETRY = 7 + 4 * FREQUENCIES
PAIR = 6
PAIR_WIDTH = 16
SMALLEST = 1e-3
"""Share of the image's side; keeps logarithms of empty boxes finite."""

NOT_MEANT = -20.0
"""Logit of what is no object."""

SMALLEST_SHARE = 1e-4
"""Probabilities below it count as it does, and those above one minus it likewise: nearer to either end, rounding would
decide on the logit."""

NOWHERE = -1e4
"""Logit below all others. It is finite: in between, it is resized."""

SURE = 0.5
"""Logit of the likeliest object from which on no other view is asked for."""

GUESSED = -1.0
"""The same up to which what another view shows is no better than nothing."""

CHOSEN = 2.0
"""Logit of the likeliest object, at least, once it is said that something is meant."""

FIRST_BIAS = -2.0
"""Most objects are not meant."""


@dataclass(frozen=True)
class Selection:
    """What B phrases mean in N images, B/N phrases in a row about each.

    Attributes:
        sightings: the objects of the images.
        logits: (B, K) that the phrase means an object; very low where there is none.
    """

    sightings: Sightings
    logits: Tensor

    @property
    def objectness(self) -> Tensor:
        """(N, 1, S/4, S/4) logits that a cell of the finest view shows an object of any kind."""
        return self.sightings.views[0].objectness

    def meant(self, target: Tensor) -> Tensor:
        """Which objects (B, K) lie in the targets (B, 1, S, S), 0 or 1, at any resolution down to S/4.

        Parts of larger ones, too: in a mask no object is told from another. `Layout.meant` knows more.
        """
        return self.sightings.belonging(target) > 1

    def unsure(self) -> Tensor:
        """(B,) bool: of no object it is more or less sure that it is meant."""
        return self.logits.amax(1) < SURE

    def guessed(self) -> Tensor:
        """(B,) bool: of all objects it is more or less sure that they are not meant."""
        return self.logits.amax(1) <= GUESSED

    def if_any(self) -> Tensor:
        """Logits (B, K) that an object is meant, if any is.

        That one is, the score has to say: here the likeliest object is meant in any case.
        """
        doubt = (CHOSEN - self.logits.amax(1, keepdim=True)).clamp(min=0)
        there = per_phrase(self.sightings.objects.scores, self.logits.shape[0]) > 0
        return torch.where(there, self.logits + doubt, NOT_MEANT)

    def to_draw(self) -> Tensor:
        """Logits (B, K) that an object is meant or a part of one that is, if any is."""
        logits = self.if_any()
        parts = per_phrase(self.sightings.objects.parts(), logits.shape[0])
        return torch.maximum(logits, torch.where(parts, logits[:, None], NOT_MEANT).amax(-1))

    def outlined(self, drawn: Sequence[Tensor], least: float, side: int) -> Tensor:
        """Logits (B, 1, side, side): of objects that are meant, but none of them drawn, the whole boxes, rounded.

        Where one of them is drawn, all are `NOWHERE`: nothing is added to what is drawn.

        A phrase may have a name for them that the model never learned, so that nothing there looks like the named kind.

        Args:
            drawn: logits (B, 1, h, w) in each view.
            least: share of an object from which on it counts as drawn.
            side: in cells.
        """
        logits = self.if_any()
        drawn_share = self.sightings.covered([each.sigmoid() for each in drawn])
        any_drawn = ((drawn_share >= least) & (logits > 0)).any(1)[:, None, None, None]
        if surely(any_drawn):
            return logits.new_full((logits.shape[0], 1, side, side), NOWHERE)
        shares = logits.sigmoid()
        count = most(shares > SMALLEST_SHARE, shares.shape[1])  # the others would change nothing
        shares, slots = shares.topk(count, dim=1)
        boxes = gathered(per_phrase(self.sightings.objects.boxes, shares.shape[0]), slots)
        filled = (filling(boxes, side).sigmoid() * shares[..., None, None]).amax(1, keepdim=True)
        return filled.logit(eps=SMALLEST_SHARE).masked_fill(any_drawn, NOWHERE)


class InstanceSelector(nn.Module):
    """Finds the objects of an image and tells which of them a phrase means.

    Args:
        feature_width: of the survey's features.
        vocabulary: rows of the word table.
        longest: tokens of the longest phrase.
    """

    def __init__(self, feature_width: int, *, vocabulary: int, longest: int) -> None:
        super().__init__()
        self.feature_norm = nn.LayerNorm(feature_width)
        self.objectness = nn.Linear(feature_width, 1)
        self.words = nn.Embedding(vocabulary, WIDTH)
        self.word_positions = nn.Embedding(longest, WIDTH)
        self.word_layers = nn.ModuleList(_Layer(listens=False) for _ in range(WORD_LAYERS))
        self.word_norm = nn.LayerNorm(WIDTH)
        self.describe = nn.Sequential(nn.Linear(feature_width + GEOMETRY, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.pair = nn.Sequential(nn.Linear(PAIR, PAIR_WIDTH), nn.GELU(), nn.Linear(PAIR_WIDTH, LAYERS * HEADS))
        self.layers = nn.ModuleList(_Layer(listens=True) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.meant = nn.Linear(WIDTH, 1)

    def forward(self, surveys: Sequence[Survey], input_ids: Tensor, attention_mask: Tensor) -> Selection:
        """Tell which objects phrases mean.

        Args:
            surveys: of N images, one for each view, the finest first.
            input_ids: (B, L), B/N phrases in a row about each image.
            attention_mask: (B, L) bool, True = real token.
        """
        return self.select(self.find(surveys), input_ids, attention_mask)

    def select(self, sightings: Sightings, input_ids: Tensor, attention_mask: Tensor) -> Selection:
        """Tell which objects phrases mean among those of `find`; phrases as in `forward`."""
        return Selection(sightings, self.choose(sightings.objects, input_ids, attention_mask))

    def find(self, surveys: Sequence[Survey]) -> Sightings:
        """The objects of N images, whatever will be said about them; surveys as in `forward`."""
        return Sightings.of([self.sight(survey) for survey in surveys], count=INSTANCES)

    def sight(self, survey: Survey) -> Sighting:
        """The objects that one view shows."""
        # What objects look like is learned elsewhere, from all of them.
        seen = survey.features.detach().permute(0, 2, 3, 1).to(self.meant.weight.dtype)
        with _full_precision(seen):
            features = self.feature_norm(seen)
            objectness = self.objectness(features).permute(0, 3, 1, 2).float()
            instances = find_instances(objectness.sigmoid(), survey.edges, count=INSTANCES)
            cells = instances.cells[..., None].expand(-1, -1, features.shape[-1])
            objects = Objects(features.flatten(1, 2).gather(1, cells), instances.boxes, instances.scores)
        return Sighting(objectness, instances, objects)

    def choose(self, objects: Objects, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, K) that phrases mean objects, as in `Selection`; phrases as in `forward`."""
        return self.weigh(objects, input_ids, attention_mask)[0]

    def weigh(self, objects: Objects, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """As `choose`, and what is thought of each object when the phrase is heard (B, K, WIDTH)."""
        with _full_precision(objects.features):
            return self._weigh(objects, input_ids, attention_mask)

    def _weigh(self, objects: Objects, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        phrases, shown = input_ids.shape[0], objects.features
        missing = objects.scores == 0
        described = self.describe(torch.cat([shown, _geometry(objects).to(shown.dtype)], dim=-1))
        bias = self.pair(_pairs(objects).to(shown.dtype)).permute(0, 3, 1, 2)
        # An image without objects: attention to nothing is not a number, so its empty slots attend to each other.
        hidden = missing & ~missing.all(1, keepdim=True)
        bias = bias.float().masked_fill(hidden[:, None, None, :], float("-inf")).to(shown.dtype)
        biases = per_phrase(bias, phrases).chunk(LAYERS, dim=1)

        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        text = self.words(input_ids) + self.word_positions(positions)
        silent = torch.zeros_like(attention_mask, dtype=text.dtype).masked_fill(~attention_mask, float("-inf"))
        silent = silent[:, None, None, :]
        for layer in self.word_layers:
            text = layer(text, silent)
        text = self.word_norm(text)
        tokens = per_phrase(described, phrases)
        for layer, among in zip(self.layers, biases, strict=True):
            tokens = layer(tokens, among, text, silent)
        tokens = self.norm(tokens)
        logits = self.meant(tokens).squeeze(-1).float()
        return logits.masked_fill(per_phrase(missing, phrases), NOT_MEANT), tokens


def _full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Places need more digits than bfloat16 has."""
    return nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)


def both(one: Tensor, other: Tensor) -> Tensor:
    """The logit of the product of two probabilities that are given as logits, same shapes."""
    return -torch.logsumexp(torch.stack([-one, -other, -one - other]), dim=0)


class _Layer(nn.Module):
    """Self-attention, attention to a phrase if it `listens`, and a feed-forward network; norms first."""

    def __init__(self, *, listens: bool) -> None:
        super().__init__()
        self.own_norm = nn.LayerNorm(WIDTH)
        self.own = _Attention()
        self.phrase_norm = nn.LayerNorm(WIDTH) if listens else None
        self.phrase = _Attention() if listens else None
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.GELU(), nn.Linear(3 * WIDTH, WIDTH)
        )

    def forward(
        self, tokens: Tensor, bias: Tensor, text: Tensor | None = None, text_bias: Tensor | None = None
    ) -> Tensor:
        """Tokens (B, K, C), bias of their attention (B, heads or 1, K or 1, K), text (B, L, C) -> (B, K, C)."""
        normed = self.own_norm(tokens)
        tokens = tokens + self.own(normed, normed, bias)
        if self.phrase is not None and self.phrase_norm is not None:
            assert text is not None and text_bias is not None
            tokens = tokens + self.phrase(self.phrase_norm(tokens), text, text_bias)
        return cast(Tensor, tokens + self.feed_forward(tokens))


class _Attention(nn.Module):
    """Multi-head attention with a bias for every pair."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens: Tensor, source: Tensor, bias: Tensor) -> Tensor:
        """Tokens (B, K, C), source (B, L, C), bias broadcast to (B, heads, K, L) -> (B, K, C)."""
        query = self.query(tokens).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.key_value(source).chunk(2, dim=-1)
        )
        weights = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias
        mixed = weights.softmax(-1) @ value
        return cast(Tensor, self.output(mixed.transpose(1, 2).flatten(2)))


def _geometry(objects: Objects) -> Tensor:
    """(N, K, GEOMETRY): centre, size, their logarithms, waves of the centre, score."""
    low, high = objects.boxes.chunk(2, dim=-1)
    centre, size = (low + high) / 2, (high - low).clamp(min=SMALLEST)
    octaves = torch.pi * 2 ** torch.arange(FREQUENCIES, device=centre.device)
    phases = (centre[..., None] * octaves).flatten(-2)
    return torch.cat([centre, size, size.log(), objects.scores[..., None], phases.sin(), phases.cos()], dim=-1)


def _pairs(objects: Objects) -> Tensor:
    """(N, K, K, PAIR): where and how large the second of each two is as seen from the first, and how alike they are."""
    low, high = objects.boxes.chunk(2, dim=-1)
    centre, size = (low + high) / 2, (high - low).clamp(min=SMALLEST)
    apart = centre[:, None] - centre[:, :, None]
    area = size.log().sum(-1)
    larger = (area[:, None] - area[:, :, None])[..., None]
    unit = F.normalize(objects.features.float(), dim=-1)
    alike = (unit @ unit.transpose(1, 2))[..., None]
    return torch.cat([apart, apart.abs(), larger, alike], dim=-1)
