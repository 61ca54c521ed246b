"""Released weights, our names: state-dict adapter for RS2-SAM 2, EVF-SAM 2, SAM 2 and BEiT-3.

Tensors are renamed, never copied or cast; the one exception are the four point embeddings of SAM 2, which are joined.
Every released name must be in the tables of `official_keys`: it is used, or dropped there by name with its reason.
Anything else is an error, so that a release that changed is never loaded by half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from refersat.errors import UserError
from refersat.models.official_keys import (
    BEIT3,
    BEIT3_PREFIX,
    HEADS,
    POINT_EMBED,
    POINT_EMBEDDINGS,
    SAM2,
    SAM2_PREFIX,
    Rule,
)

if TYPE_CHECKING:
    from torch import Tensor

Family = Literal["rs2sam2", "evf-sam2", "sam2", "beit3"]
"""Whose names a state dict holds. `sam2` and `beit3` fill a part of the model only: they are for initialisation."""

_SHOWN = 5


@dataclass(frozen=True)
class ConversionPlan:
    """What becomes of every name of a released state dict.

    Attributes:
        family: whose names they are.
        sources: our name -> the released name, or the released names whose tensors are joined along the first axis.
        dropped: released name -> why nothing here needs it.
    """

    family: Family
    sources: dict[str, tuple[str, ...]]
    dropped: dict[str, str]

    @property
    def covers(self) -> tuple[str, ...]:
        """The parts of `RS2Sam2Model` (names of its direct children) that get values, sorted."""
        return tuple(sorted({name.split(".")[0] for name in self.sources}))


def from_official(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a released state dict to the names of `RS2Sam2Model`.

    A whole release (RS2-SAM 2, EVF-SAM 2) then fits `load_state_dict(..., strict=True)` of the model of its
    configuration. SAM 2 and BEiT-3 fill the parts that `plan_conversion(...).covers` names; the top-level key "model"
    of their files may still be there.

    Raises:
        UserError: names that no release has, or a point embedding missing; the message lists the first few.
    """
    weights = unwrap(state_dict)
    plan = plan_conversion(weights)
    return {name: joined([weights[source] for source in sources]) for name, sources in plan.sources.items()}


def plan_conversion(names: Iterable[str]) -> ConversionPlan:
    """Find out which release the names belong to, and where each goes. Errors as in `from_official`."""
    names = list(names)
    family = _family(names)
    sources: dict[str, tuple[str, ...]] = {}
    dropped: dict[str, str] = {}
    unknown: list[str] = []
    points: dict[str, str] = {}
    for name in names:
        plain, rules = _table(name, family)
        if rules is SAM2 and plain in POINT_EMBEDDINGS:
            points[plain] = name
            continue
        match = _match(plain, rules)
        if match is None:
            unknown.append(name)
        elif match[0].target is None:
            dropped[name] = match[0].reason
        else:
            sources[match[1]] = (name,)
    if unknown:
        raise UserError(
            f"{len(unknown)} of {len(names)} weights have names that no {family} release has: {few(unknown)}"
        )
    if points:
        missing = [name for name in POINT_EMBEDDINGS if name not in points]
        if missing:
            raise UserError(f"{len(missing)} of {len(POINT_EMBEDDINGS)} point embeddings are missing: {few(missing)}")
        sources[POINT_EMBED] = tuple(points[name] for name in POINT_EMBEDDINGS)
    return ConversionPlan(family, sources, dropped)


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor as it is; several concatenated along the first axis."""
    if len(tensors) == 1:
        return tensors[0]
    import torch

    return torch.cat(list(tensors))


def unwrap(state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What lies below the top-level key "model", or the state dict itself."""
    inner = state_dict.get("model")
    return inner if isinstance(inner, Mapping) else state_dict


def few(names: Sequence[str]) -> str:
    """The first few names and how many more there are, for a message of one line."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _family(names: Sequence[str]) -> Family:
    if any(name.startswith(SAM2_PREFIX) for name in names):
        return "rs2sam2" if any(name.startswith("text_feat_linear.") for name in names) else "evf-sam2"
    if any(name.startswith("sam_mask_decoder.") for name in names):
        return "sam2"
    if any(name.startswith("beit3.") for name in names):
        return "beit3"
    shown = f": {few(names)}" if names else ""
    raise UserError(f"these {len(names)} weights are of no known release (RS2-SAM 2, EVF-SAM 2, SAM 2, BEiT-3){shown}")


def _table(name: str, family: Family) -> tuple[str, tuple[Rule, ...]]:
    """The name without its release's prefix, and the rules that may know it."""
    if family == "sam2":
        return name, SAM2
    if family == "beit3":
        return name, BEIT3
    if name.startswith(SAM2_PREFIX):
        return name.removeprefix(SAM2_PREFIX), SAM2
    if name.startswith(BEIT3_PREFIX):
        return name.removeprefix(BEIT3_PREFIX), BEIT3
    return name, HEADS


def _match(name: str, rules: tuple[Rule, ...]) -> tuple[Rule, str] | None:
    """The rule that knows the name, with our name ("" when it drops it)."""
    for rule in rules:
        match = rule.pattern.fullmatch(name)
        if match is not None:
            return rule, match.expand(rule.target) if rule.target is not None else ""
    return None
