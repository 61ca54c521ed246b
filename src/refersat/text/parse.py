"""From an English phrase to its meaning: the way back from `refersat.text.grammar`.

Example:
    >>> parse("Find the second largest boat towards the top-left corner of the photo").meaning.rank
    2
    >>> parse("the ship that nobody likes except on the left of Tuesday")
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from refersat.text.clues import adjectives_at, direction_at, extreme_at, image_at, place_at, run_at, size_behind_at
from refersat.text.corpus import COLOURS
from refersat.text.meaning import Extreme, Kind, Meaning, Place, Relation, Size
from refersat.text.nouns import category_of, is_substance, singular, split_head
from refersat.text.scope import scene_spans
from refersat.text.spoken import (
    ARTICLES,
    CONNECTORS,
    MARKERS,
    NUMBERS,
    PREPOSITIONS,
    RANKS,
    Word,
    is_noun,
    said,
    sense,
    spoken,
    starts,
    vocabulary,
)
from refersat.text.words import plural

_POLITE = ("please", "can you", "could you", "would you", "i want to", "i want you to", "help me")
_REQUESTS = (
    "find me", "find out", "find", "search for", "search", "segment out", "segment", "show me", "show", "highlight",
    "select", "mark", "locate", "outline", "get me", "get", "detect", "extract", "point out", "where is", "where are",
    "i am looking for", "looking for", "look for", "identify", "draw the outline of", "give me", "pick out", "map",
    "delineate", "which", "there is", "there are",
)  # fmt: skip
_OF_THEM = ("of all the", "of all", "of the", "of these", "of those")
_COLOURS = frozenset(word for colour in COLOURS for word in colour.split() if word != "and")
_SIZES: dict[str, Size] = {
    "largest": "largest", "larger": "largest", "large": "largest",
    "smallest": "smallest", "smaller": "smallest", "small": "smallest",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """How a phrase was understood.

    Attributes:
        meaning: what it says; targets unknown, `count` only where a number was said (else 1).
        noun: the singular of what is asked for, in the phrase's own words, with what singles it out on the spot:
            "red car that is parked"; without the words about the scene.
        anchor: the same for the other kind of object that the phrase names, where it does.
        further: relations said besides the meaning's own, "... and to the left of a road", with their nouns.
    """

    meaning: Meaning
    noun: str
    anchor: Reading | None = None
    further: tuple[tuple[Relation, Reading], ...] = ()

    @property
    def kind_phrase(self) -> str:
        """A phrase for all objects of the kind, wherever they are: "all red cars"."""
        head, preposition, rest = split_head(self.noun)
        return f"all {plural(head)}{preposition}{rest}"


def parse(phrase: str) -> Reading | None:
    """The reading of a phrase, or None where it says something about the scene that the rules do not understand."""
    words = spoken(phrase)
    reader = _Reader(words)
    reading = reader.phrase()
    return reading if reading and reader.at == len(words) else None


@dataclass(slots=True)
class _Said:
    """What has been read of one object so far."""

    number: Literal["one", "the one", "each", "all"] = "one"
    count: int = 1
    definite: bool = False
    indefinite: bool = False
    place: Place | None = None
    extreme: Extreme | None = None
    size: Size | None = None
    rank: int | None = None
    colour: str | None = None
    relations: tuple[tuple[Relation, Reading], ...] = ()
    contradicts: bool = False


_NO_NOUN = vocabulary("is are was can be it they except but not one ones thing things which")


class _Reader:
    """Reads words from the left to the right; `at` is the next one."""

    def __init__(self, words: list[Word]) -> None:
        self.words = words
        self.at = 0

    def phrase(self) -> Reading | None:
        self._take(*_POLITE)
        self._take(*_REQUESTS)
        seen = _Said()
        if place_at(self.words, self.at):  # "In the upper left, the ship"
            self._tail(seen, is_anchor=False)
        return self._object(seen, is_anchor=False)

    def _take(self, *phrases: str) -> bool:
        end = starts(self.words, self.at, *phrases)
        self.at = end or self.at
        return end is not None

    def _object(self, seen: _Said, *, is_anchor: bool) -> Reading | None:
        self._determiner(seen)
        self._adjectives(seen)
        if (seen.size or seen.extreme) and self._take(*_OF_THEM):
            self._number(_Said())  # "the largest of the three ships": still one
            seen.number = "the one"
        start = self.at
        while self.at < len(self.words) and not self._is_tail(seen, is_anchor):
            self.at += 1
        noun = self.words[start : self.at]
        while self.at < len(self.words):
            if is_anchor and self._is_and():
                break
            if not self._tail(seen, is_anchor=is_anchor):
                start = self.at
                if is_anchor or self._is_tail(seen, is_anchor):
                    return None
                while self.at < len(self.words) and not self._is_tail(seen, is_anchor):
                    self.at += 1
                noun = [*noun, *self.words[start : self.at]]
        return _reading(seen, noun)

    def _determiner(self, seen: _Said) -> None:
        words = self.words
        if self._take("the group of", "a group of", "group of", "each of the", "every one of the"):
            seen.number = "each" if words[self.at - 2].said == "of" and words[self.at - 3].said == "each" else "all"
        elif self._take("all of the", "all the", "all of", "all", "both the", "both", "some", "any", "several", "many"):
            seen.number = "all"
        elif self._take("every", "each"):
            seen.number = "each"
        elif sense(words, self.at) in ARTICLES:
            seen.definite = said(words, self.at) == "the"
            seen.indefinite = said(words, self.at) in ("a", "an", "another")
            self.at += 1
        self._number(seen)

    def _number(self, seen: _Said) -> None:
        number = said(self.words, self.at)
        count = NUMBERS.get(number, int(number) if number.isdecimal() and len(number) < 4 else 0)
        if count and count < 1000 and is_more(self.words, self.at + 1):
            seen.count = count
            seen.number = "all" if count > 1 else seen.number
            self.at += 1

    def _adjectives(self, seen: _Said) -> None:
        while True:
            words, at = self.words, self.at
            run = adjectives_at(words, at)
            size = _SIZES.get(sense(words, at + (sense(words, at) == "very")))
            if said(words, at) in RANKS and is_more(words, at + 1):
                seen.rank = RANKS[said(words, at)]
                self.at += 1
                self._number(seen)
            elif run and run.senses & MARKERS and run.extreme:
                if seen.number == "one" or ("most" in run.senses and seen.count > 1):  # "the three leftmost ships"
                    seen.extreme = run.extreme
                else:
                    seen.place = run.place
                self.at = run.end
            elif run and run.place and seen.place is None:
                seen.place, self.at = run.place, run.end
            elif (
                size and self._is_superlative(seen, at) and (is_more(words, at + 1) or starts(words, at + 1, *_OF_THEM))
            ):
                seen.size, self.at = size, at + 1 + (sense(words, at) == "very")
                self._number(seen)
            elif said(words, at) in _COLOURS and (
                is_noun(words, at + 1) or (said(words, at + 1) == "and" and said(words, at + 2) in _COLOURS)
            ):
                end = at + 1
                if said(words, end) == "and" and said(words, end + 1) in _COLOURS and is_noun(words, end + 2):
                    end += 2
                said_now = " ".join(word.said for word in words[at:end])
                seen.colour, self.at = f"{seen.colour} {said_now}" if seen.colour else said_now, end
            elif said(words, at) in ("only", "single", "lone", "adjacent") and is_noun(words, at + 1):
                self.at += 1
            else:
                return

    def _is_superlative(self, seen: _Said, at: int) -> bool:
        """Whether it is said of one only: "large" is an attribute, but "the large ship" is the larger one."""
        plain = sense(self.words, at) in ("large", "small")
        return not plain or (seen.definite and seen.number == "one" and seen.count == 1)

    def _is_and(self) -> bool:
        """Whether here begins something else about the first object, not more of a name ("track and field")."""
        return said(self.words, self.at) == "and" and not is_noun(self.words, self.at + 1)

    def _is_tail(self, seen: _Said, is_anchor: bool) -> bool:
        at = self.at
        if is_anchor and self._is_and():
            return True
        found = self._tail(replace(seen), is_anchor=is_anchor, only_look=True)
        self.at = at
        return found

    def _tail(self, seen: _Said, *, is_anchor: bool, only_look: bool = False) -> bool:
        """One thing said behind the noun, "located on the left"; nothing is read where there is none."""
        words, start = self.words, self.at
        while said(words, self.at) in CONNECTORS:
            self.at += 1
        at = self.at
        if seen.relations and said(words, start) == "and" and at == start + 1 and said(words, at) in ARTICLES:
            return self._another_anchor(seen, start)
        counted = self._from_a_side(seen, at)
        extreme = extreme_at(words, at)
        size = size_behind_at(words, at)
        place = place_at(words, at)
        direction = direction_at(words, at)
        image = image_at(words, at)
        if counted:
            return True
        if seen.size and starts(words, at, "of the two", "of them", "of all"):
            self.at = starts(words, at, "of the two", "of them", "of all") or at
        elif extreme and not seen.extreme:
            if seen.number == "one" or place is None:
                seen.extreme, self.at = extreme
            else:
                seen.place, self.at = place[0].place, place[1]
        elif size and not seen.size:
            seen.size, self.at = size
        elif place:
            seen.contradicts |= seen.place not in (None, place[0].place)
            seen.place, self.at = place[0].place, place[1]
        elif direction and is_more(words, direction[1]):
            if only_look:
                return True
            self.at = direction[1]
            anchor = self._object(_Said(), is_anchor=True)
            if anchor is None:
                self.at = start
                return False
            seen.relations += ((Relation(direction[0], anchor.meaning), anchor),)
        elif image:
            self.at = image
        else:
            self.at = start
            return False
        return True

    def _another_anchor(self, seen: _Said, start: int) -> bool:
        """Behind "... to the left of a road" and "and": the same direction from a river."""
        anchor = self._object(_Said(), is_anchor=True)
        if anchor is None:
            self.at = start
            return False
        seen.relations += ((Relation(seen.relations[-1][0].direction, anchor.meaning), anchor),)
        return True

    def _from_a_side(self, seen: _Said, at: int) -> bool:
        """Behind "the second ship" "from the left"; "of some ships" may follow."""
        run = run_at(self.words, at + 1) if said(self.words, at) == "from" else None
        if seen.rank is None or run is None or run.extreme is None or sense(self.words, run.end) == "than":
            return False
        seen.extreme, self.at = run.extreme, run.end
        if said(self.words, self.at) == "of":
            self.at += 1
            while is_noun(self.words, self.at) or said(self.words, self.at) in ("some", "all", "the", "these"):
                self.at += 1
        return True


def _reading(seen: _Said, noun_words: list[Word]) -> Reading | None:
    """What was said, put together; None where a word about the scene is left among those of the noun."""
    while noun_words and noun_words[-1].said in CONNECTORS:
        noun_words = noun_words[:-1]
    if not noun_words or scene_spans(noun_words) or (seen.rank and not (seen.extreme or seen.size)):
        return None
    if _NO_NOUN & {word.said for word in noun_words} or not is_noun(noun_words, 0) or seen.contradicts:
        return None
    if noun_words[-1].said in PREPOSITIONS:
        return None
    noun = " ".join(said for said, _ in dict.fromkeys((word.said, word.start) for word in noun_words))
    one, is_plural = singular(noun)
    many = seen.number == "all" or (seen.number == "one" and is_plural)
    # "Water on the left" is all of it, however many regions it has.
    one_is_meant = seen.indefinite or seen.extreme or seen.size or seen.relations
    is_mass = is_substance(one) and seen.number == "one" and not one_is_meant
    plural = many or is_mass or seen.number == "each"
    first = seen.relations[0] if seen.relations else None
    meaning = Meaning(
        _kind(seen, plural=plural),
        category_of(one),
        plural=plural,
        count=seen.count,
        place=seen.place,
        extreme=seen.extreme,
        size=seen.size,
        rank=seen.rank or 1,
        relation=first[0] if first else None,
        colour=seen.colour,
    )
    said_noun = f"{seen.colour} {one}" if seen.colour else one
    return Reading(meaning, said_noun, first[1] if first else None, seen.relations[1:])


def is_more(words: list[Word], k: int) -> bool:
    """Whether something is named from word `k` on."""
    return k < len(words) and said(words, k) not in CONNECTORS and sense(words, k) != "of"


def _kind(seen: _Said, *, plural: bool) -> Kind:
    if seen.relations:
        return "relation"
    if seen.extreme:
        return "extreme"
    if seen.size:
        return "size"
    if seen.place:
        return "group" if plural else "position"
    if seen.colour:
        return "colour"
    return "group" if plural else "unique"
