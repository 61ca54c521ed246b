"""All that can be said of a scene without being misunderstood.

Every meaning found here fits exactly its targets: an object that might also be meant (because it lies in the borderline
band of a cell, is nearly as large, nearly as far left, ...) keeps the meaning from being said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from random import Random

from refersat.text.meaning import Direction, Extreme, Kind, Meaning, Place, Relation, Side, Size
from refersat.text.scene import PLACE_BIT, PLACES, Scene, SceneObject

# The cell that a side means when there are objects in its corners as well.
MIDDLE_OF_SIDE: dict[str, Place] = {
    "left": Place("cell", 1, 0), "right": Place("cell", 1, 2), "top": Place("cell", 0, 1), "bottom": Place("cell", 2, 1)
}  # fmt: skip
CELLS, SIDES, HALVES, QUADRANTS, EDGES = (
    tuple(place for place in PLACES if place.kind == kind) for kind in ("cell", "side", "half", "quadrant", "edge")
)
_REGIONS = sum(PLACE_BIT[place] for place in (*CELLS, *SIDES, *HALVES))
SECTORS: tuple[tuple[Direction, float], ...] = (
    ("right", 0.0), ("lower right", 45.0), ("below", 90.0), ("lower left", 135.0),
    ("left", 180.0), ("upper left", 225.0), ("above", 270.0), ("upper right", 315.0),
)  # fmt: skip


def present_meanings(scene: Scene, rnd: Random | None = None, *, anchor_limit: int = 6) -> dict[Kind, list[Meaning]]:
    """Everything that can be said of the scene's objects, by kind (kinds without any are left out).

    With ``rnd``, relations are looked for around at most ``anchor_limit`` objects, drawn at random: in full scenes
    they are most of the work.
    """
    found: dict[Kind, list[Meaning]] = {}
    anchors: dict[int, list[Meaning]] = {}
    for category, members in scene.by_category.items():
        for meaning in _about_category(scene, category, members):
            found.setdefault(meaning.kind, []).append(meaning)
            if _can_anchor(meaning):
                anchors.setdefault(meaning.targets[0], []).append(meaning)
    chosen = list(anchors.items())
    if rnd is not None and len(chosen) > anchor_limit:
        chosen = rnd.sample(chosen, anchor_limit)
    relations = [meaning for index, names in chosen for meaning in _relations(scene, index, names)]
    if relations:
        found["relation"] = relations
    return found


def _about_category(scene: Scene, category: str, members: list[int]) -> Iterator[Meaning]:
    total = len(members)
    if total == 1:
        yield Meaning("unique", category, (members[0],))
    else:
        yield Meaning("group", category, tuple(members), plural=True, count=total, total=total)
        yield from _extremes(scene, category, members)
        yield from _sizes(scene, category, members)
        yield from _colours(scene, category, members)
    yield from _places(scene, category, members)


def _places(scene: Scene, category: str, members: list[int]) -> Iterator[Meaning]:
    """What is told by its place: single objects, and groups of which no other object of the category is near."""
    once = twice = doubtful = 0
    for i in members:
        loose = scene.loose[i]
        twice |= once & loose
        once |= loose
        doubtful |= loose & ~scene.strict[i]
    alone = once & ~twice & ~doubtful
    groups = twice & ~doubtful & _REGIONS
    total = len(members)
    target_of: dict[Place, int] = {}
    for k, place in enumerate(PLACES):
        if groups >> k & 1:
            inside = tuple(i for i in members if scene.loose[i] >> k & 1)
            if len(inside) < total:
                yield Meaning("group", category, inside, plural=True, count=len(inside), total=total, place=place)
        target: int | None = None
        if alone >> k & 1:
            target = next(i for i in members if scene.loose[i] >> k & 1)
            if place.kind == "quadrant" and target_of.get(Place("cell", place.row, place.column)) != target:
                target = None  # only true corners: whoever takes the quadrant for a corner finds the same object
            if target is not None:
                target_of[place] = target
        elif place.kind == "side":
            # "On the left" beside "on the upper left": then it means the middle of the left third.
            target = target_of.get(MIDDLE_OF_SIDE[place.side])
        if target is not None:
            yield Meaning("position", category, (target,), total=total, place=place)


def _extremes(scene: Scene, category: str, members: list[int]) -> Iterator[Meaning]:
    objects, total, gap = scene.objects, len(members), scene.rules.separation
    measures: tuple[tuple[Side, Callable[[SceneObject], float], Callable[[SceneObject], float], float], ...] = (
        ("left", lambda o: o.centroid[0], lambda o: o.box[0], scene.width),
        ("right", lambda o: -o.centroid[0], lambda o: -o.box[2], scene.width),
        ("top", lambda o: o.centroid[1], lambda o: o.box[1], scene.height),
        ("bottom", lambda o: -o.centroid[1], lambda o: -o.box[3], scene.height),
    )
    for extreme, centre, outline, side in measures:
        order = sorted(members, key=lambda i: centre(objects[i]))
        places = [centre(objects[i]) / side for i in order]
        outlines = [outline(objects[i]) for i in order]
        for rank in range(1, min(scene.rules.largest_rank, total - 1) + 1):
            k = rank - 1
            apart = places[k + 1] - places[k] > gap and (k == 0 or places[k] - places[k - 1] > gap)
            # The outlines must be in the same order as the centres, else "leftmost" depends on who looks.
            agree = max(outlines[: k + 1]) < min(outlines[k + 1 :]) and (k == 0 or max(outlines[:k]) < outlines[k])
            if apart and agree:
                target = order[k]
                far = bool(scene.strict[target] & PLACE_BIT[Place("side", side=extreme)])
                yield Meaning(
                    "extreme", category, (target,), total=total, extreme=extreme, rank=rank, far=far,
                    place=scene.cell(target),
                )  # fmt: skip
    middle = (scene.width / 2, scene.height / 2)
    order = sorted(members, key=lambda i: math.dist(objects[i].centroid, middle))
    near, next_ = (math.dist(objects[i].centroid, middle) for i in order[:2])
    if next_ - near > gap * (scene.width + scene.height) / 2:
        yield Meaning("extreme", category, (order[0],), total=total, extreme="center")


def _sizes(scene: Scene, category: str, members: list[int]) -> Iterator[Meaning]:
    ratio, total = scene.rules.size_ratio, len(members)
    rising = sorted(members, key=lambda i: scene.objects[i].area)
    sides: tuple[tuple[Size, list[int]], ...] = (("largest", rising[::-1]), ("smallest", rising))
    for size, order in sides:
        areas = [scene.objects[i].area for i in order]
        for rank in range(1, min(scene.rules.largest_rank, total - 1) + 1):
            k = rank - 1
            if _ratio(areas[k], areas[k + 1]) > ratio and (k == 0 or _ratio(areas[k - 1], areas[k]) > ratio):
                place = scene.cell(order[k])
                yield Meaning("size", category, (order[k],), total=total, size=size, rank=rank, place=place)


def _ratio(a: float, b: float) -> float:
    low, high = min(a, b), max(a, b)
    return high / low if low > 0 else 1.0


def _colours(scene: Scene, category: str, members: list[int]) -> Iterator[Meaning]:
    colours = [scene.objects[i].colour for i in members]
    if None in colours:  # an object of unknown colour might be meant as well
        return
    for colour in sorted({c for c in colours if c}):
        fitting = tuple(i for i, c in zip(members, colours, strict=True) if c == colour)
        if len(fitting) < len(members):
            yield Meaning(
                "colour",
                category,
                fitting,
                plural=len(fitting) > 1,
                count=len(fitting),
                total=len(members),
                colour=colour,
            )


def _can_anchor(meaning: Meaning) -> bool:
    if meaning.kind == "unique":
        return True
    if meaning.kind in ("extreme", "size"):
        return meaning.rank == 1 and meaning.extreme != "center"
    return (
        meaning.kind == "position" and meaning.total > 1 and meaning.place is not None and meaning.place.kind == "cell"
    )


def _relations(scene: Scene, index: int, anchors: Sequence[Meaning]) -> Iterator[Meaning]:
    """Objects told by where they lie from object ``index``, which the meanings ``anchors`` name."""
    for category, members in scene.by_category.items():
        # "The ship left of the ship on the right" is a riddle: no places for anchors of the same category.
        names = [a for a in anchors if a.category != category or a.kind != "position"]
        if names and len(members) > (category == scene.objects[index].category):
            for target, direction in _related(scene, index, [i for i in members if i != index]):
                for anchor in names:
                    yield Meaning(
                        "relation", category, (target,), total=len(members), relation=Relation(direction, anchor)
                    )


def _related(scene: Scene, index: int, others: list[int]) -> Iterator[tuple[int, Direction]]:
    rules, origin = scene.rules, scene.objects[index]
    ax, ay = origin.centroid
    own_reach = rules.reach_px + _extent_of(origin) / 4
    seen = []
    for i in others:
        item = scene.objects[i]
        dx, dy = item.centroid[0] - ax, item.centroid[1] - ay
        angle = math.degrees(math.atan2(dy, dx)) % 360
        seen.append((math.hypot(dx, dy), angle, own_reach + _extent_of(item) / 4, i))
    seen.sort()
    for distance, angle, reach, target in seen:
        if distance >= reach:
            break
        if _overlap(origin.box, scene.objects[target].box):
            continue
        for direction, middle in SECTORS:
            if turn(angle, middle) > (rules.sector + rules.sector_overlap) / 2:
                continue
            # "Left of" is also said of what lies to the upper left: sides need a wider clearance than diagonals.
            clearance = rules.sector + rules.sector_overlap / (1 if middle % 90 == 0 else 2)
            # What lies right on the anchor lies in no direction: then none is clear.
            if all(j == target or (away > 0 and turn(other, middle) > clearance) for away, other, _, j in seen):
                yield target, direction
    distance, _, reach, target = seen[0]
    if distance < reach and not _overlap(origin.box, scene.objects[target].box):
        if len(seen) == 1 or seen[1][0] >= max(seen[1][2], 1.5 * distance):
            yield target, "near"
        if len(seen) > 1 and seen[1][0] > 1.5 * distance:
            yield target, "nearest"


def _extent_of(item: SceneObject) -> float:
    return (item.box[2] - item.box[0] + item.box[3] - item.box[1]) / 2


def turn(a: float, b: float) -> float:
    """Angle between two directions, in degrees, 0 to 180."""
    return abs((a - b + 180) % 360 - 180)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def absent_places(scene: Scene) -> list[Meaning]:
    """Phrases of present categories in parts of the image where none of them is, nor comes near."""
    found = []
    for category, members in scene.by_category.items():
        taken = 0
        for i in members:
            taken |= scene.loose[i]
        for k, place in enumerate(PLACES):
            empty = _REGIONS >> k & 1 and not taken >> k & 1
            if empty and all(scene.clear_of(i, place) for i in members):
                found.append(Meaning("absent-position", category, place=place, total=len(members)))
    return found


def absent_category(category: str, anchors: Sequence[Meaning], rnd: Random) -> Meaning:
    """A phrase of a category that is nowhere in the image, in any of the forms that phrases of present objects take."""
    form = rnd.choices(
        ("unique", "group", "position", "extreme", "size", "relation"), (3, 2, 4, 1.5, 1, 1 if anchors else 0)
    )[0]
    kind: Kind = "absent-category"
    if form == "group":
        count, place = rnd.randint(2, 9), rnd.choice(SIDES + CELLS) if rnd.random() < 0.3 else None
        return Meaning(kind, category, plural=True, count=count, total=count + (place is not None), place=place)
    if form == "position":
        return Meaning(kind, category, place=rnd.choice(CELLS + SIDES + SIDES + HALVES + QUADRANTS + EDGES))
    if form == "extreme":
        extremes: tuple[Extreme, ...] = ("left", "right", "top", "bottom", "center")
        return Meaning(kind, category, total=3, extreme=rnd.choice(extremes), far=True, rank=1 + (rnd.random() < 0.15))
    if form == "size":
        sizes: tuple[Size, ...] = ("largest", "smallest")
        return Meaning(kind, category, total=rnd.choice((2, 3)), size=rnd.choice(sizes))
    if form == "relation":
        direction = rnd.choice((*(name for name, _ in SECTORS), "near"))
        return Meaning(kind, category, relation=Relation(direction, rnd.choice(anchors)))
    return Meaning(kind, category)


def absent_candidates(
    scene: Scene,
    vocabulary: Sequence[str],
    never_absent: frozenset[str],
    companions: Mapping[str, frozenset[str]],
    context: Collection[str],
) -> list[str]:
    """Categories of the vocabulary that are safely absent: not in the scene, nor often unlabelled beside what is."""
    present = scene.by_category.keys()
    around = present | set(context)
    return [
        category
        for category in vocabulary
        if category not in present
        and category not in never_absent
        and not (companions.get(category, frozenset()) & around)
    ]
