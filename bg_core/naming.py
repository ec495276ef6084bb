"""What a free text calls a product: the phrases in it that may name a category, most trusted first.

English puts the noun that says what a thing is at the end of its phrase ("stoneware tea cup" is a cup, "wine glass" is
no wine), before any preposition ("candle in a glass"), except that a container names its content ("bottle of wine",
"wine bottle"). These few rules need no language model. Names in other scripts pass through unchanged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_BOUNDARY = re.compile(r"\s[-\u2013\u2014]\s|[,;:|()\[\]{}]|\s/\s")
_POSSESSIVE = re.compile(r"['\u2019]s\b|(?<=s)['\u2019](?=\s|$)")
_QUANTITY = re.compile(
    r"(?<!\w)\d[\d.,x\u00d7]*\s*(?:ml|cl|l|litres?|liters?|g|kg|oz|lb|cm|mm|m|in|inch|gb|tb|w|v|pcs|pieces?|pack)?(?!\w)"
)
_WORD = re.compile(r"[^\W_]+")

PREPOSITIONS = {"for", "with", "without", "in", "on", "from", "by", "to", "at", "under", "including", "and", "plus"}
CONTAINERS = {
    *("bottle", "jar", "pack", "packet", "package", "box", "tin", "can", "carton", "tube", "pot", "bag", "tub", "cup"),
    *("pouch", "sachet", "case", "crate", "drum", "bucket", "keg", "barrel", "flask", "glass", "bowl", "stick"),
    *("bar", "slice", "piece", "block", "wedge", "wheel", "loaf", "bunch", "pair", "set", "kit", "selection", "range"),
}
"""What stands before "of" without being the product."""
PACKAGING = {
    *("bottle", "jar", "pack", "packet", "tin", "can", "tube", "pouch", "sachet", "tub", "bar", "bean", "powder"),
    *("set", "bundle", "blend", "assortment", "selection", "collection", "refill"),
}
"""What may stand last without being the product. Glass, pot, cup, box, case or bag are often the product itself."""


def singular(word: str) -> str:
    """The word without a plural's ending. Applied to names and queries alike, so it need only be consistent."""
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def words(text: str) -> list[str]:
    """Folded, singular words: no case, accents kept, no punctuation, no possessive."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [singular(word) for word in _WORD.findall(_POSSESSIVE.sub(" ", folded))]


def key_of(text: str) -> str:
    """What two spellings of a name have in common: "Wrist-Watches" and "wrist watch" give the same."""
    return " ".join(words(text))


def head_phrases(text: str) -> Iterator[list[str]]:
    """The noun phrases of `text` that may say what it is, as `words`; of each the last word weighs most."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    for segment in _BOUNDARY.split(folded):
        # not words(): the "on" of "roll-on" is no preposition
        apart = _QUANTITY.sub(" ", segment).split()
        cut = next((i for i, word in enumerate(apart) if i and word in PREPOSITIONS), len(apart))
        tokens = words(" ".join(apart[:cut]))
        if "of" not in tokens[1:-1]:
            if tokens:
                yield tokens
            continue
        place = tokens.index("of", 1)
        container, content = tokens[:place], tokens[place + 1 :]
        yield tokens  # "pair of sunglasses" may be a name as a whole
        yield from (content, container) if container[-1] in CONTAINERS else (container,)


def suffixes(phrase: list[str]) -> Iterator[str]:
    """Keys made of the phrase's last words, longest first; of the last two also run together ("sun glasses")."""
    for start in range(len(phrase)):
        yield " ".join(phrase[start:])
        if len(phrase) - start == 2:
            yield "".join(phrase[start:])


def without_packaging(phrase: list[str]) -> list[str]:
    """The phrase less the packaging at its end ("lager can" -> "lager"); empty if there is none or nothing else."""
    end = len(phrase)
    while end and phrase[end - 1] in PACKAGING:
        end -= 1
    return phrase[:end] if end < len(phrase) else []


def compound_ends(word: str) -> Iterator[tuple[str, str]]:
    """(rest, end) of a word that may be a closed compound ("tea", "cup"), longest end first.

    Scripts without spaces put the head last as well, hence any split is tried there.
    """
    shortest = 3 if word.isascii() else 1
    for start in range(shortest, len(word) - shortest + 1):
        yield word[:start], word[start:]


def is_misspelling(word: str, name: str) -> bool:
    """Whether `word` is `name` with a slip: first and last letter right, one edit in six letters or two in nine."""
    longer = max(len(word), len(name))
    allowed = 0 if longer < 6 else 1 if longer < 9 else 2
    if not word or not name or word[0] != name[0] or word[-1] != name[-1] or abs(len(word) - len(name)) > allowed:
        return False
    return edit_distance(word, name) <= allowed


def edit_distance(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
