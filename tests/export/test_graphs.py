"""The three graphs together are the model, in every configuration, and hold no more than they need."""

from __future__ import annotations

import pytest
import torch

from refersat.export.graphs import example_inputs, graphs
from refersat.models.rs2sam2 import RS2Sam2Model
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, IDS, MASK, make_model, views

FROM_OUTSIDE = {"pixel_values", "union_pixel_values", "input_ids", "attention_mask"}


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def model(request: pytest.FixtureRequest) -> RS2Sam2Model:
    return make_model(**CONFIGURATIONS[request.param])


@torch.no_grad()
def test_one_after_the_other_they_answer_as_the_model(model: RS2Sam2Model) -> None:
    pixels, union_pixels = views()
    expected = model(pixels, union_pixels, IDS, MASK)
    known = {"pixel_values": pixels, "union_pixel_values": union_pixels, "input_ids": IDS, "attention_mask": MASK}
    for graph in graphs(model):
        known |= graph.module({name: known[name] for name in graph.inputs})
    torch.testing.assert_close(known["logits"], expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(known["presence_logits"], expected.presence_logits, rtol=0, atol=1e-5)


def test_each_takes_only_what_is_known_by_then(model: RS2Sam2Model) -> None:
    known = set(FROM_OUTSIDE)
    for graph in graphs(model):
        assert set(graph.inputs) <= known
        known |= set(graph.outputs)
    assert {"logits", "presence_logits"} <= known


def test_each_has_its_own_weights_only(model: RS2Sam2Model) -> None:
    parts = [{name for name, _ in graph.module.named_parameters()} for graph in graphs(model)]
    parts = [{name.removeprefix("part.") for name in names} for names in parts]
    union, image, decoder = parts
    assert set.union(*parts) == {name for name, _ in model.named_parameters()}
    assert not any(name.startswith("trunk.") for name in union | decoder)
    assert not any(name.startswith("union_encoder.") for name in image | decoder)


def test_example_phrases_differ_in_length(model: RS2Sam2Model) -> None:
    inputs = example_inputs(model, batch=3, tokens=6)
    assert inputs["attention_mask"].sum(1).tolist() == [6, 4, 2]
    assert inputs["pixel_values"].shape == (3, 3, 64, 64)
    assert int(inputs["input_ids"].max()) < model.config.vocab_size
