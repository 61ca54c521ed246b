"""What `RS2Sam2Model` answers, and what its halves hand to each other on the way."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils.generic import ModelOutput

from refersat.models.candidates import Candidates
from refersat.models.selection import Selection


@dataclass
class RS2Sam2Output(ModelOutput):
    """What `RS2Sam2Model` answers for B pairs of image and phrase; S is the side of `pixel_values`.

    Attributes:
        logits: (B, 1, S, S) the answer: foreground where > `config.mask_threshold`. It is `low_res_logits` up-sampled,
            or refined where there is a refiner, or whole boxes (`config.least_coverage`).
        low_res_logits: (B, 1, S/4, S/4) of the decoder; with a selector of the objects that are meant.
        decoded_logits: (B, 1, S, S) what the mask decoder draws by itself, up-sampled.
        pseudo_mask: (B, 1, G, G) probabilities of the mask prompt generator, or None without one.
        pseudo_mask_logits: the same before the sigmoid.
        text_weight: (B,) the boundary loss's scalar, or None without one.
        presence_logits: (B,) SAM 2's object score logit; with a selector its mean with that of the likeliest object.
        iou_scores: (B,) SAM 2's own estimate of the mask's IoU, 0..1.
        prompt_token: (B, hidden) the sparse prompt, what the union encoder made of image and phrase.
        features: neck outputs at strides 4, 8 and 16, (B, hidden, S/4, S/4) and so on; one per image, not per phrase,
            where the trunk had not heard the phrase.
        image_embedding: (B, hidden, S/16, S/16) what the mask decoder sees of the image, after all fusion.
        image_maps: what the trunk made of the N images before it heard a phrase: (N, H, W, C) for each stage that ended
            there, then the state at that point.
        candidates: what looks like the named kind, or None without a candidate finder.
        object_score_logits: (B,) SAM 2's object score logit.
        selection: which single objects are meant, or None without a selector.
    """

    logits: Tensor | None = None
    low_res_logits: Tensor | None = None
    decoded_logits: Tensor | None = None
    pseudo_mask: Tensor | None = None
    pseudo_mask_logits: Tensor | None = None
    text_weight: Tensor | None = None
    presence_logits: Tensor | None = None
    iou_scores: Tensor | None = None
    prompt_token: Tensor | None = None
    features: tuple[Tensor, ...] | None = None
    image_embedding: Tensor | None = None
    image_maps: tuple[Tensor, ...] | None = None
    candidates: Candidates | None = None
    object_score_logits: Tensor | None = None
    selection: Selection | None = None


@dataclass(frozen=True)
class Heard:
    """What the union encoder makes of B phrases, each with its image; more in `RS2Sam2Output`.

    Attributes:
        prompt_token: (B, hidden) the sparse prompt.
        text: (B, L, hidden) the phrase for the image's layers, or None where none of them listens.
        pseudo_mask_logits: (B, 1, G, G), or None.
        text_weight: (B,), or None.
    """

    prompt_token: Tensor
    text: Tensor | None
    pseudo_mask_logits: Tensor | None
    text_weight: Tensor | None = None


@dataclass(frozen=True)
class Seen:
    """What the mask decoder is shown of B phrases' images; more in `RS2Sam2Output`.

    Attributes:
        image: (B, hidden, S/16, S/16).
        details: (B, hidden / 8, S/4, S/4) and (B, hidden / 4, S/8, S/8).
        candidates: or None.
        features: of the neck; not for the decoder.
        maps: of the trunk, before it hears a phrase; not for the decoder.
        texture: (N, W, S/2, S/2) what the refiner sees; of the finest view alone, if there is a refiner.
    """

    image: Tensor
    details: list[Tensor]
    candidates: Candidates | None
    features: tuple[Tensor, ...] = ()
    maps: tuple[Tensor, ...] = ()
    texture: Tensor | None = None
