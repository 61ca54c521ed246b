"""What learns, made as a recipe says, and one step of it: the loop's, and what `refersat bench train` times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from refersat.models.optimized.compiled import compile_training
from refersat.training.batch import AnyBatch
from refersat.training.checkpoints import Learner
from refersat.training.devices import Devices, choose_attention
from refersat.training.journal import PhraseTerms, phrase_terms
from refersat.training.muon import Muon
from refersat.training.objective import Totals
from refersat.training.parameters import parameter_groups
from refersat.training.parts import checkpoint_activations, options_of
from refersat.training.recipe import Recipe
from refersat.training.setup import Setup
from refersat.training.trainee import AnyTrainee


def make_trainee(setup: Setup, devices: Devices, vocabulary: int) -> AnyTrainee:
    """The model with its first weights, on the device, and only what is to train trainable.

    Args:
        setup: of the run.
        devices: of this process.
        vocabulary: tokens of the run's tokenizer.
    """
    recipe = setup.recipe
    config: Any = setup.start.config
    init = recipe.init
    if (
        setup.start.tokenizer is None and init.beit3 is None and init.roberta is None
    ):  # their tables are as large as they are
        config.vocab_size = vocabulary
    choose_attention(config, recipe, devices.device)
    torch.manual_seed(recipe.seed)
    model = setup.task.model(config)
    setup.start.fill(model)
    if recipe.optimizer.activation_checkpointing:
        checkpoint_activations(model)
    setup.task.freeze(model, recipe.parts, setup.loss)
    if recipe.optimizer.compiled:
        compile_training(model)
    return setup.task.trainee(model, setup).to(devices.device)


def make_optimizer(trainee: AnyTrainee, recipe: Recipe, *, fused: bool) -> torch.optim.Optimizer:
    """The optimizer of all that trains; AdamW may be `fused`: one kernel for many parameters."""

    def scale(name: str) -> float:
        if not name.startswith("model."):
            return 1.0
        rate = options_of(name.removeprefix("model."), recipe.parts).learning_rate
        return 1.0 if rate is None else rate / recipe.optimizer.learning_rate

    groups = parameter_groups(trainee, recipe.optimizer.weight_decay, scale)
    if recipe.optimizer.kind == "muon":
        return Muon(groups, dtype=getattr(torch, recipe.optimizer.precision))
    return torch.optim.AdamW(groups, fused=True if fused else None)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the base rate in its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def gradients(
    devices: Devices, prepared: nn.Module, trainee: AnyTrainee, batches: Sequence[AnyBatch], recipe: Recipe
) -> tuple[dict[str, float], list[PhraseTerms]]:
    """The first half of a step: the gradients of a batch, in the parts that it comes in, clipped.

    Returns:
        Its loss and terms, over all processes, and their `gradient`, the norm before it was clipped; and the terms of
        each of its phrases where the recipe wants them.
    """
    totals = devices.totals(Totals.of(batches))
    terms: dict[str, Tensor] = {}
    phrases: list[PhraseTerms] = []
    for number, batch in enumerate(batches):
        with devices.unsynchronised(prepared, last=number == len(batches) - 1):
            with devices.precision():
                loss, part, own = prepared(batch.to(devices.device), totals)
            # Every process has its part of the loss, and gradients are averaged over them.
            devices.accelerator.backward(loss * devices.processes)
        for name, value in {"loss": loss.detach(), **part}.items():
            terms[name] = terms[name] + value if name in terms else value
        if recipe.log_samples:
            phrases += phrase_terms(batch, own)
    summed = devices.total(torch.stack(list(terms.values())))
    gradient = devices.clip(trainee, recipe.optimizer.clip)
    values = torch.cat([summed, gradient.to(summed)[None]]).tolist()  # all brought from the device at once
    return dict(zip([*terms, "gradient"], values, strict=True)), devices.together(phrases)


def move(learner: Learner) -> None:
    """The second half: along the gradients, which are gone afterwards."""
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)
    learner.average.update(learner.trainee.model)
