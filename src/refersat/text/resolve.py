"""Which of a scene's objects a phrase means: the way back from `refersat.text.meanings`.

Where the generator says something only when nobody can misunderstand it, here somebody has said it: what comes closest
is chosen, however close another one comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import shapely

from refersat.text.meaning import Meaning, Place, Relation
from refersat.text.meanings import MIDDLE_OF_SIDE, SECTORS, turn
from refersat.text.parse import Reading
from refersat.text.scene import PLACE_BIT, Scene, extent_of_place

Members: TypeAlias = Callable[[Reading], Sequence[int]]
"""The scene's objects that are of a reading's kind, colour and other looks included: what words alone cannot tell."""

_WIDTHS = (30.0, 45.0, 75.0)  # degrees off a direction: clearly there, rather there, and just so


def resolve(reading: Reading, scene: Scene, members: Members) -> tuple[int, ...]:
    """The objects that the phrase means, as indices; none where none fits.

    Without anything that singles objects out these are all of the kind; otherwise one for a phrase in the singular.
    Places are told before order and size: "the largest on the left" is the largest of those on the left.
    """
    meaning = reading.meaning
    chosen = list(members(reading))
    singled_out = False
    if meaning.place:
        chosen = _placed(chosen, meaning.place, scene)
        singled_out = True
    relations = [(meaning.relation, reading.anchor), *reading.further]
    one_is_meant = not meaning.plural and not meaning.extreme and not meaning.size
    for relation, anchor in relations:
        if relation and anchor:
            anchors = resolve(anchor, scene, members)
            chosen = _related(chosen, relation, anchors, scene, everything=not one_is_meant)
            singled_out = True
    if meaning.extreme:
        chosen = _counted(sorted(chosen, key=lambda i: _behind(meaning, i, scene)), meaning)
    elif meaning.size:
        sign = -1 if meaning.size == "largest" else 1
        chosen = _counted(sorted(chosen, key=lambda i: sign * scene.objects[i].area), meaning)
    elif singled_out and not meaning.plural:
        chosen = chosen[:1]
    return tuple(chosen)


def _counted(order: list[int], meaning: Meaning) -> list[int]:
    """From an order, those at the rank: one, or as many as were said."""
    first = meaning.rank - 1
    return order[first : first + (meaning.count if meaning.plural else 1)]


def _behind(meaning: Meaning, index: int, scene: Scene) -> float:
    """How far an object lies from the end of an order, in sides of the image."""
    extreme = meaning.extreme or ""
    x, y = scene.objects[index].centroid
    if extreme == "center":
        return math.dist((x, y), (scene.width / 2, scene.height / 2))
    x, y = x / scene.width, y / scene.height
    away = {"left": x, "right": 1 - x, "top": y, "upper": y, "bottom": 1 - y, "lower": 1 - y}
    return sum(away[side] for side in extreme.split(" "))


def _placed(indices: Sequence[int], place: Place, scene: Scene) -> list[int]:
    """Those in the place, or else in its borderline band; first those that its name fits best."""
    bit = PLACE_BIT[place]
    inside = [i for i in indices if scene.strict[i] & bit] or [i for i in indices if scene.loose[i] & bit]
    heart = MIDDLE_OF_SIDE[place.side] if place.kind == "side" else place
    left, top, right, bottom = extent_of_place(heart, scene.rules)
    middle = ((left + right) / 2 * scene.width, (top + bottom) / 2 * scene.height)

    def distance(i: int) -> tuple[bool, float]:
        return not scene.strict[i] & PLACE_BIT[heart], math.dist(scene.objects[i].centroid, middle)

    return sorted(inside, key=distance)


def _related(
    indices: Sequence[int], relation: Relation, anchors: Sequence[int], scene: Scene, *, everything: bool
) -> list[int]:
    """Those that lie so from one of the anchors; first the nearest, or all only in roughly that direction."""
    pairs = [(_distance(a, i, scene), i, a) for a in anchors for i in indices if not _are_same(a, i, scene)]
    if relation.direction in ("near", "nearest"):
        close = sorted(pairs)
        if everything:
            close = [pair for pair in close if pair[0] < _reach(pair[1], pair[2], scene)]
        return list(dict.fromkeys(i for _, i, _ in close))
    middle = dict(SECTORS)[relation.direction]
    off = [(turn(_angle(a, i, scene), middle), distance, i) for distance, i, a in pairs]
    for width in _WIDTHS[-1:] if everything else _WIDTHS:
        within = sorted((distance, i) for angle, distance, i in off if angle <= width)
        if within:
            return list(dict.fromkeys(i for _, i in within))
    return []


def _are_same(a: int, b: int, scene: Scene) -> bool:
    """Whether two objects are one, found twice under different names."""
    one, other = shapely.box(*scene.objects[a].box), shapely.box(*scene.objects[b].box)
    return a == b or shapely.intersection(one, other).area > 0.5 * shapely.union(one, other).area


def _distance(a: int, b: int, scene: Scene) -> float:
    return math.dist(scene.objects[a].centroid, scene.objects[b].centroid)


def _angle(a: int, b: int, scene: Scene) -> float:
    """Direction of `b` as seen from `a`, in degrees, clockwise from the right."""
    (ax, ay), (bx, by) = scene.objects[a].centroid, scene.objects[b].centroid
    return math.degrees(math.atan2(by - ay, bx - ax)) % 360


def _reach(a: int, b: int, scene: Scene) -> float:
    boxes = (scene.objects[a].box, scene.objects[b].box)
    return scene.rules.reach_px + sum(x1 - x0 + y1 - y0 for x0, y0, x1, y1 in boxes) / 8
