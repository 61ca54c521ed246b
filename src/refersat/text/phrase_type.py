"""What kind of phrase it is, told from its words: for data sets that do not say it.

The kinds are those of the benchmarks' analyses, and of `refersat.text.meaning` as far as words alone tell them. A
phrase that says several things gets the hardest one: "the largest ship to the left of the bridge" is a relation.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

PhraseType = Literal["relation", "extreme", "size", "position", "attribute", "group", "unique"]
"""
- relation: found by another object, "the ship to the left of the bridge", "vehicle on the road";
- extreme: the last one in a direction, or counted from it, "the leftmost ship", "the second ship from the top";
- size: the largest or smallest of its kind;
- position: found by its place in the image, "the ship on the upper left";
- attribute: told by colour, shape, size or state, "the red ship";
- group: several objects and nothing else, "all ships";
- unique: only the name of a category, "the bridge".
"""

PHRASE_TYPES: tuple[PhraseType, ...] = get_args(PhraseType)

_SIDE = r"(?:left|right|top|bottom|upper|lower|up|down)(?:[- ]?hand)?"
_MIDDLE = r"(?:middle|cent(?:er|re|rally|ral)|midpoint|mid)"
_COMPASS = r"(?:north|south|east|west)(?:[- ]?(?:east|west))?(?:ern)?"
_IMAGE = r"(?:(?:aerial |satellite )?image|picture|scene|photograph|photo|frame|view)"
_PART = (
    r"(?:corner|edge|border|margin|side|part|area|section|region|portion|half|quadrant|quarter|third|sector|zone|"
    r"position|reaches)"
)
_HOW = rf"(?:very|far|extreme|most|{_IMAGE}|{_SIDE}|{_MIDDLE}|{_COMPASS})"
_IN = (
    r"(?:(?<!next )(?<!close )(?<!closest )(?<!nearest )to|in|on|at|towards?|within|inside|across|around|along|from|of|"
    r"touching|over on|over to|off to)"
)
_NEAR = r"(?:near|nearest(?: to)?|closest(?: to)?|next to|close to|by|beside)"
_NUMBER = r"(?:two|three|four|five|six|seven|eight|nine|ten|\d+)"

_OF_THE_IMAGE = rf"(?: (?:of|in|on|at) (?:the |this )?(?:whole )?(?:{_HOW}[- ])*(?:{_IMAGE}|{_PART}))"

# "on the left", "near the upper edge of the image": places in the image. "on the left of the bridge" is none, nor is
# "next to the left ship". The groups are atomic (?>): half of such a place is not to be found in place of the whole.
_PLACE = re.compile(
    rf"\b(?:(?>{_IN}(?: the| this| an?)?(?:[- ]{_HOW})*[- ](?:{_IMAGE}|{_PART}|{_MIDDLE} of the(?: far)? {_SIDE}|"
    rf"{_SIDE}|{_MIDDLE}|{_COMPASS})(?:[- ](?:{_HOW}|{_PART})\b)*{_OF_THE_IMAGE}*)"
    rf"|(?>{_NEAR} (?:the |an? )?(?:{_HOW}[- ])*(?:{_IMAGE}|{_PART}|{_MIDDLE}|"
    rf"{_SIDE}(?= *$|{_OF_THE_IMAGE})){_OF_THE_IMAGE}*))"
    rf"\b(?! (?:of|than)\b(?! the {_NUMBER}\b))"
)
_THAN_OTHERS = re.compile(r"\bthan (?:all |any |the |every )*(?:others?|rest)\b")
_RELATION = re.compile(
    rf"\b(?:{_SIDE}|{_MIDDLE}|{_COMPASS}|{_PART}|end|front|outside|inside) of\b(?! (?:the |them )?(?:{_NUMBER}|all)\b)"
    r"|\b(?:above|below|under|underneath|beneath|beside|besides|alongside|near|nearby|nearest|between|among|amid|amidst|"
    r"behind|opposite|along|outside|around|across|over|past|into|onto|than|directly)\b"
    r"|\b(?:next|close|closest|nearer|closer|adjacent|connected|attached|parallel|leading|joined) to\b"
    r"|\b(?:surrounded|enclosed|bordered|flanked|crossed|accompanied|followed) by\b"
    r"|\b(?:surrounding|crossing|spanning|bordering|facing|adjoining|connecting|containing)\b"
    r"|\b(?:distance|far|away|across) from\b|\bin the vicinity\b"
    r"|\b(?:in|on|at|inside|within|by|off|to|through) (?:the|an?|another|its) (?!shape\b|form\b)"
)
_EXTREME = re.compile(
    rf"\b{_SIDE}[- ]?most\b|\b(?:uppermost|lowermost|innermost|outermost|centermost|lowest|highest)\b"
    rf"|\b{_COMPASS}most\b|\b{_MIDDLE}[- ]most\b"
    rf"|\b(?:most|extreme|very|furthest|farthest|far) (?:to the )?(?:{_SIDE}|{_MIDDLE}|in the middle)\b"
    rf"|\b(?:closest|nearest) (?:to )?(?:the )?(?:{_SIDE}|{_MIDDLE}|{_IMAGE}|edge|border)\b"
    rf"|\b(?:first|second|third|fourth|fifth|sixth|last|\d(?:st|nd|rd|th))\b.*\bfrom the (?:{_HOW}|{_PART})"
    rf"|\b(?:further|farther|higher|lower) (?:{_SIDE} )?than\b"
)
_ON_THE_FAR = re.compile(rf"\b(on|at|to|of) the far (?={_SIDE})")  # as good as "on the left"
_SIZE = re.compile(
    r"\b(?:largest|smallest|biggest|tiniest|littlest|greatest|longest|shortest|widest|narrowest|tallest|least|larger|"
    r"smaller|bigger|greater|lesser|longer|shorter|most ground)\b"
)
_POSITION = re.compile(
    rf"\b(?:{_SIDE}|{_MIDDLE}|{_COMPASS}|corner|edge|border|quadrant|halfway)\b|\b(?:left|right|upper|lower)-"
)
_COLOUR = (
    "red orange yellow green cyan blue purple pink brown gray grey white black dark light bright silver golden beige "
    "reddish bluish greenish greyish grayish brownish colored coloured colorful"
)
_SHAPE = (
    "oval round circular rectangular square slender triangular curved straight long short cone frustum shaped "
    "elongated cylindrical elliptical ring l-shaped u-shaped t-shaped wide narrow thin parallel"
)
_STATE = (
    "tiny small little large big huge medium tall low high empty parked moving docked abandoned partially visible "
    "partly hidden concrete wooden grassy paved unpaved new old single lone isolated with without whose full"
)
_ATTRIBUTE = re.compile(rf"\b(?:{'|'.join(f'{_COLOUR} {_SHAPE} {_STATE}'.split())})\b")
# Categories of the benchmarks whose names only look like attributes or places.
_NAMES = re.compile(
    r"\b(?:(?:small|large) vehicle|(?:circular |round )?(?:storage )?tank|low vegetation|parking (?:lot|area|space)|"
    r"(?:expressway )?service area)(s?)\b"
)
_GROUP = re.compile(rf"\b(?:all|every|each|both|group of|several|many|the {_NUMBER})\b|^{_NUMBER}\b")
_PLURAL = re.compile(r"[^isu]s *$")


def classify(phrase: str) -> PhraseType:
    """The kind of a phrase, any English text."""
    text = " ".join(re.sub(r"'s\b|[.,;:!?\"()]", " ", phrase.lower()).split())
    text = _ON_THE_FAR.sub(r"\1 the ", _NAMES.sub(r"thing\1", text))
    elsewhere = _PLACE.sub(" ", _THAN_OTHERS.sub(" ", text))
    if _RELATION.search(elsewhere):
        return "relation"
    if _EXTREME.search(text):
        return "extreme"
    if _SIZE.search(text):
        return "size"
    if _POSITION.search(text):
        return "position"
    if _ATTRIBUTE.search(text):
        return "attribute"
    return "group" if _GROUP.search(text) or _PLURAL.search(elsewhere) else "unique"
