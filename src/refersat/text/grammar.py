"""From a meaning to an English phrase, with as many wordings as people use."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from refersat.text import words
from refersat.text.meaning import Meaning, Place, Relation
from refersat.text.words import Pool

Style = Literal["train", "heldout", "all"]

_ARTICLES = ("the ", "a ", "an ")
_DETERMINERS = (*_ARTICLES, "all ", "every ", "each ", "both ")


@dataclass(frozen=True, slots=True)
class Grammar:
    """Words meanings at random.

    ``train`` speaks with the training wordings only; ``heldout`` puts at least one held-out wording (a verb, a name of
    a place or of the category, an order of words) into each phrase; ``all`` does either, half and half.
    """

    style: Style = "train"

    def phrase(self, meaning: Meaning, rnd: Random) -> tuple[str, bool]:
        """One phrase for the meaning, and whether it has a held-out wording in it."""
        heldout = self.style == "heldout" or (self.style == "all" and rnd.random() < 0.5)
        for _ in range(12):
            speaker = _Speaker(rnd, 0.4 if heldout else 0.0)
            text = speaker.phrase(meaning)
            if speaker.used_heldout or not heldout:
                break
        return text, speaker.used_heldout


@dataclass(slots=True)
class _Modifiers:
    """What is said of a noun: ``before`` it, ``behind`` it, and whether a verb may stand between."""

    before: str = ""
    behind: str = ""
    takes_verb: bool = True


class _Speaker:
    """One phrase being said; remembers whether any of its words came from the held-out halves."""

    def __init__(self, rnd: Random, heldout_share: float) -> None:
        self._rnd = rnd
        self._heldout_share = heldout_share
        self._names: dict[str, str] = {}
        self.used_heldout = False

    def phrase(self, meaning: Meaning) -> str:
        text = self._sentence(meaning)
        question = text.startswith("where ")
        capital = self._chance(0.4)
        if capital:
            text = text[0].upper() + text[1:]
        if not self._chance(0.4 if capital else 0.08):
            return text
        return text + ("?" if question else ".")

    def _pick(self, pool: Pool) -> str:
        if pool.heldout and self._heldout_chance():
            return self._rnd.choice(pool.heldout)
        return self._rnd.choice(pool.train)

    def _chance(self, probability: float) -> bool:
        return self._rnd.random() < probability

    def _heldout_chance(self) -> bool:
        if self._heldout_share and self._chance(self._heldout_share):
            self.used_heldout = True
            return True
        return False

    def _sentence(self, meaning: Meaning) -> str:
        """A noun phrase, a request for it, or a sentence ("The bridge is located at the right of the image")."""
        said = self._modifiers(meaning)
        noun = self._noun_phrase(meaning, said.before)
        if not said.behind:
            return self._request(meaning, f"{noun} in the {self._pick(words.IMAGE)}" if self._chance(0.15) else noun)
        if not said.takes_verb:  # never "is with the largest area"
            return self._request(meaning, f"{noun} {said.behind}")
        many = meaning.plural and not noun.startswith(("every ", "each "))
        roll = self._rnd.random()
        if roll < 0.2 and noun.startswith(_DETERMINERS):
            return f"{noun} {_agree(self._pick(words.IS), many)} {said.behind}"
        if meaning.place and roll < 0.35 and noun.startswith(_DETERMINERS) and self._heldout_chance():
            return f"{said.behind}, {noun}"
        if roll > 0.72:
            return self._request(meaning, f"{noun} {_agree(self._pick(words.LOCATED), many)} {said.behind}")
        return self._request(meaning, f"{noun} {said.behind}")

    def _modifiers(self, meaning: Meaning) -> _Modifiers:
        if meaning.relation:
            return _Modifiers(meaning.colour or "", self._relation(meaning.relation))
        if meaning.extreme:
            return self._extreme(meaning)
        if meaning.size:
            return self._size(meaning)
        if meaning.place:
            if self._chance(0.12):
                before = self._place_before(meaning.place)
                if before:
                    return _Modifiers(before)
            return _Modifiers(meaning.colour or "", self._place(meaning.place))
        return _Modifiers(meaning.colour or "")

    def _noun_phrase(self, meaning: Meaning, before: str) -> str:
        name = self._name(meaning.category)
        noun = f"{before} {name}" if before else name
        if meaning.plural:
            return self._plural_phrase(meaning.count, noun)
        definite = bool(meaning.extreme or meaning.size)
        roll = self._rnd.random()
        if roll < (0.75 if definite else 0.55):
            return f"the {noun}"
        if definite or roll > 0.82:
            return noun
        # RRSIS-D writes "a" before vowels as well.
        return f"{words.article(noun) if self._chance(0.8) else 'a'} {noun}"

    def _plural_phrase(self, count: int, noun: str) -> str:
        nouns = words.plural(noun)
        if count <= 6 and self._chance(0.35 if count > 2 else 0.5):
            if count == 2 and self._chance(0.15):
                return f"both {nouns}"
            number = words.NUMBERS[count] if self._chance(0.9) else str(count)
            return f"{'the ' if self._chance(0.75) else ''}{number} {nouns}"
        return self._pick(words.GROUP).format(n=nouns, s=noun)

    def _name(self, category: str) -> str:
        """The same name each time a category is named within one phrase."""
        if category not in self._names:
            pool = words.SYNONYMS.get(category)
            self._names[category] = self._pick(pool) if pool else category
        return self._names[category]

    def _place(self, place: Place) -> str:
        key = words.place_key(place)
        if place.kind == "quadrant" or (place.kind == "cell" and key == "corner"):
            pool = words.CORNER if place.kind == "cell" else words.QUADRANT
            text = self._pick(pool).format(c=self._corner(place.row, place.column, hyphen=0.3))
        elif place.kind == "cell":
            text = self._pick(words.MIDDLE if key == "middle" else words.MIDDLE_OF_SIDE[key])
        elif place.kind == "edge":
            text = self._pick(words.EDGE).format(s=place.side)
        elif place.kind == "side" and self._chance(0.65):
            text = self._pick(words.SIDE_ALONE[place.side])
        else:
            pool = words.SIDE_PART if place.kind == "side" else words.HALF
            text = self._pick(pool).format(s=self._pick(words.SIDE_NAMES[place.side]))
        return f"{text} {self._of_image()}" if self._chance(0.35) and not text.endswith("mid-height") else text

    def _place_before(self, place: Place) -> str:
        """A place as an adjective, "the upper left ship", or nothing where there is none."""
        key = words.place_key(place)
        if place.kind == "side":
            return self._pick(words.SIDE_NAMES[place.side])
        if place.kind == "cell" and key == "corner":
            return self._corner(place.row, place.column, hyphen=0.3)
        return "central" if place.kind == "cell" and key == "middle" else ""

    def _corner(self, row: int, column: int, *, hyphen: float) -> str:
        joint = "-" if self._chance(hyphen) else " "
        return self._pick(words.ROW_NAMES[row]) + joint + words.COLUMN_NAMES[column]

    def _extreme(self, meaning: Meaning) -> _Modifiers:
        name = meaning.extreme
        assert name is not None
        if meaning.rank > 1:
            return _Modifiers(self._pick(words.ORDINALS[meaning.rank]), f"from the {name}", takes_verb=False)
        roll = self._rnd.random()
        if name != "center" and roll < 0.15 and meaning.far:
            return _Modifiers(behind=self._pick(words.FAR).format(s=name))
        if name != "center" and 0.15 <= roll < 0.22:
            return _Modifiers("first", f"from the {name}", takes_verb=False)
        if roll < 0.42:
            text = self._pick(words.EXTREME_BEHIND[name])
            tail = f" {self._of_image()}" if self._chance(0.3) and not text.endswith(("others", "up", "down")) else ""
            return _Modifiers(behind=text + tail, takes_verb=False)
        place = self._place(meaning.place) if meaning.place and self._chance(0.25) else ""
        return _Modifiers(self._pick(words.EXTREME_ADJECTIVE[name]), place)

    def _size(self, meaning: Meaning) -> _Modifiers:
        name = meaning.size
        assert name is not None
        if meaning.rank > 1:
            return _Modifiers(f"{self._pick(words.ORDINALS[meaning.rank])} {name}")
        if meaning.total == 2 and self._chance(0.55):
            adjective = self._pick(words.SIZE_OF_TWO[name])
            if adjective.endswith("er") and self._chance(0.2):
                return _Modifiers(adjective, "of the two", takes_verb=False)
            return _Modifiers(adjective)
        if self._chance(0.12):
            return _Modifiers(behind=self._pick(words.SIZE_BEHIND[name]), takes_verb=False)
        place = self._place(meaning.place) if meaning.place and self._chance(0.25) else ""
        return _Modifiers(self._pick(words.SIZE_ADJECTIVE[name]), place)

    def _relation(self, relation: Relation) -> str:
        anchor = relation.anchor
        said = self._modifiers(anchor)
        noun = " ".join(filter(None, ("the", said.before, self._name(anchor.category), said.behind)))
        vertical, diagonal, horizontal = relation.direction.partition(" ")
        if not diagonal:
            return f"{self._pick(words.DIRECTIONS[relation.direction])} {noun}"
        corner = self._corner(0 if vertical == "upper" else 2, 0 if horizontal == "left" else 2, hyphen=0.15)
        above = "above" if vertical == "upper" else "below"
        return f"{self._pick(words.DIRECTIONS['diagonal']).format(c=corner, v=above, h=horizontal)} {noun}"

    def _of_image(self) -> str:
        return f"of the {self._pick(words.IMAGE)}"

    def _request(self, meaning: Meaning, text: str) -> str:
        """Now and then "find the ..." and the like."""
        if not self._chance(0.12):
            return text
        verb = self._pick(words.REQUEST)
        if verb == "where is" and meaning.plural and not text.startswith(("every ", "each ")):
            verb = "where are"
        if not meaning.plural and not text.startswith(_ARTICLES):
            text = f"the {text}"
        return (
            f"please {verb} {text}" if self._chance(0.2) and not verb.startswith(("where", "I ")) else f"{verb} {text}"
        )


_PLURAL_VERBS = {"is": "are", "lies": "lie", "appears": "appear", "sits": "sit", "stands": "stand"}


def _agree(verb: str, many: bool) -> str:
    """The verb in the plural where many are spoken of."""
    return " ".join(_PLURAL_VERBS.get(word, word) for word in verb.split(" ")) if many else verb
