"""An RS2-SAM 2 as three graphs: union encoder, image encoder, decoder.

A graph gives under a name what a later one takes under the same name, so whoever runs them needs to know nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from refersat.models.candidates import Candidates, Survey
from refersat.models.preprocess import reduced
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.rs2sam2_output import Heard, Seen

BATCH = "batch"
TOKENS = "tokens"
"""The two dimensions that are free: pairs of an image and a phrase, and tokens of the longest phrase among them."""

VIEWS = ("", "_glance", "_far", "_farthest")
"""Behind the names of what was seen in each view; the coarser ones some models have. A graph always takes the second
look: what it does may not depend on what it sees."""

_PER_TOKEN = {"input_ids", "attention_mask", "text"}
_EXAMPLE_BATCH = 2  # one would be taken for a constant
_EXAMPLE_TOKENS = 7


@dataclass(frozen=True)
class Graph:
    """One of the three, with example inputs and outputs by their names.

    Attributes:
        name: of the graph.
        module: takes a dictionary of inputs and gives one of outputs.
        inputs: in the order in which the graph takes them.
        outputs: in the order in which it gives them.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class UnionEncoder(nn.Module):
    """What each phrase says about its image."""

    def __init__(self, model: RS2Sam2Model) -> None:
        super().__init__()
        self.part = _part(model, ["union_encoder", "token_mlp", "text_projection", "mask_prompt", "boundary_scalar"])
        self.takes = ["union_pixel_values", "input_ids", "attention_mask"]

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by their names in, tensors by their names out."""
        heard = self.part.hear(given["union_pixel_values"], given["input_ids"], given["attention_mask"])
        outputs = {"prompt_token": heard.prompt_token}
        if _image_hears_text(self.part):
            assert heard.text is not None
            outputs["text"] = heard.text
        if heard.pseudo_mask_logits is not None:
            outputs["pseudo_mask_logits"] = heard.pseudo_mask_logits
        return outputs


class ImageEncoder(nn.Module):
    """What the images look like to the decoder once they have heard the phrases."""

    def __init__(self, model: RS2Sam2Model) -> None:
        super().__init__()
        self.part = _part(
            model, ["trunk", "candidates", "neck", "mask_decoder", "prompt_encoder", "encoder_fusion", "refiner"]
        )
        self.takes = ["pixel_values"]
        if model.candidates is not None:
            self.takes.append("prompt_token")
        if _image_hears_text(model):
            self.takes += ["text", "attention_mask"]

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by their names in, tensors by their names out."""
        pixels = given["pixel_values"]
        nothing = pixels.new_empty(pixels.shape[0], 0)
        heard = Heard(given.get("prompt_token", nothing), given.get("text"), None)
        outputs: dict[str, Tensor] = {}
        views, coarsest = self.part.views(pixels), self.part.config.second_glance
        if coarsest is not None:
            views.append(reduced(pixels, coarsest))
        for view, shown in zip(VIEWS, views, strict=False):
            seen = self.part.see(shown, heard, given.get("attention_mask", nothing.bool()))
            fine, middle = seen.details
            outputs |= {f"image_embedding{view}": seen.image}
            outputs |= {f"details_fine{view}": fine, f"details_middle{view}": middle}
            if seen.candidates is not None:
                outputs |= {
                    f"candidate_logits{view}": seen.candidates.logits,
                    f"candidate_marks{view}": seen.candidates.decoder_marks,
                    f"survey_features{view}": seen.candidates.survey.features,
                    f"survey_edges{view}": seen.candidates.survey.edges,
                }
            if not view and (texture := self.part.texture(pixels, seen.candidates)) is not None:
                outputs |= {"texture": texture}
        return outputs


class Decoder(nn.Module):
    """The masks, of prompts and encoded images; with the choice among objects where the model has one."""

    def __init__(self, model: RS2Sam2Model) -> None:
        super().__init__()
        self.part = _part(model, ["prompt_encoder", "mask_decoder", "candidates", "selector", "refiner"])
        self.takes = ["prompt_token"]
        if model.mask_prompt is not None:
            self.takes.append("pseudo_mask_logits")
        always = 1 + len(model.config.glances)
        self.views, self.again = VIEWS[:always], VIEWS[always] if model.config.second_look else None
        names = ["image_embedding", "details_fine", "details_middle"]
        if model.candidates is not None:
            names += ["candidate_logits", "candidate_marks", "survey_edges"]
        if model.selector is not None:
            names.append("survey_features")
        views = self.views if self.again is None else (*self.views, self.again)
        self.takes += [name + view for view in views for name in names]
        if model.refiner is not None:
            self.takes.append("texture")
        if model.selector is not None:
            self.takes += ["input_ids", "attention_mask"]

    def forward(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by their names in, tensors by their names out."""
        token = given["prompt_token"]
        unread = token.new_empty(token.shape[0], 0)
        again = self.again
        output = self.part.draw(
            Heard(token, None, given.get("pseudo_mask_logits")),
            [self._seen(given, view, unread) for view in self.views],
            given.get("input_ids", unread),
            given.get("attention_mask", unread),
            again=None if again is None else lambda some: some.of_images(self._seen(given, again, unread)),
        )
        assert output.logits is not None and output.presence_logits is not None
        return {"logits": output.logits, "presence_logits": output.presence_logits}

    def _seen(self, given: dict[str, Tensor], view: str, unread: Tensor) -> Seen:
        found = None
        if f"candidate_logits{view}" in given:
            survey = Survey(given.get(f"survey_features{view}", unread), given[f"survey_edges{view}"])
            marks = given[f"candidate_marks{view}"]
            found = Candidates(survey, given[f"candidate_logits{view}"], unread, unread, marks)
        details = [given[f"details_fine{view}"], given[f"details_middle{view}"]]
        texture = None if view else given.get("texture")
        return Seen(given[f"image_embedding{view}"], details, found, texture=texture)


@torch.no_grad()
def graphs(model: RS2Sam2Model) -> Iterator[Graph]:
    """The three graphs of a model in evaluation mode, in the order in which they run."""
    values = example_inputs(model, _EXAMPLE_BATCH, min(_EXAMPLE_TOKENS, model.config.max_text_length))
    for name, kind in (("union-encoder", UnionEncoder), ("image-encoder", ImageEncoder), ("decoder", Decoder)):
        module = kind(model).eval()
        inputs = {each: values[each] for each in module.takes}
        outputs: dict[str, Tensor] = module(inputs)
        values |= outputs
        yield Graph(name, module, inputs, outputs)


def example_inputs(model: RS2Sam2Model, batch: int, tokens: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Noise for `RS2Sam2Model.forward`: B pairs, of which all but the first have a phrase that is padded."""
    config, generator = model.config, torch.Generator().manual_seed(seed)
    lengths = torch.tensor([max(2, tokens - 2 * index) for index in range(batch)])
    ids = torch.randint(4, config.vocab_size, (batch, tokens), generator=generator)
    return {
        "pixel_values": torch.randn(batch, 3, config.image_size, config.image_size, generator=generator),
        "union_pixel_values": torch.randn(
            batch, 3, config.union_image_size, config.union_image_size, generator=generator
        ),
        "input_ids": ids,
        "attention_mask": torch.arange(tokens) < lengths[:, None],
    }


def dimensions(name: str, tensor: Tensor) -> list[int | str]:
    """The shape of a graph's input or output, with names for what is free."""
    free = 2 if name in _PER_TOKEN else 1
    return [*[BATCH, TOKENS][:free], *tensor.shape[free:]]


def _image_hears_text(model: RS2Sam2Model) -> bool:
    return model.config.block_fusion in ("uni", "bi") or bool(model.config.encoder_fusion)


def _part(model: RS2Sam2Model, kept: Sequence[str]) -> RS2Sam2Model:
    """The same model with only some of its children, so that a graph carries no weights of the others."""
    part = copy(model)
    part._modules = {name: model._modules[name] for name in kept if name in model._modules}
    return part
