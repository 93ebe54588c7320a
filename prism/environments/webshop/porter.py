"""The Porter stemmer, with the departures of its author's own implementation.

Source: M. F. Porter, An algorithm for suffix stripping, Program 14(3), 1980. Lucene follows Porter's later program,
which differs from the paper in three points: words of one or two letters stay as they are, ``-bli`` becomes ``-ble``
(the paper has ``-abli`` to ``-able``), and ``-logi`` becomes ``-log``. Snowball's ``porter`` keeps to the paper and
gives other terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

# (suffix, replacement): the first suffix that fits is the rule that applies, whether or not its condition holds
_STEP_2 = {
    "a": (("ational", "ate"), ("tional", "tion")),
    "c": (("enci", "ence"), ("anci", "ance")),
    "e": (("izer", "ize"),),
    "l": (("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous")),
    "o": (("ization", "ize"), ("ation", "ate"), ("ator", "ate")),
    "s": (("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous")),
    "t": (("aliti", "al"), ("iviti", "ive"), ("biliti", "ble")),
    "g": (("logi", "log"),),
}
_STEP_3 = {
    "e": (("icate", "ic"), ("ative", ""), ("alize", "al")),
    "i": (("iciti", "ic"),),
    "l": (("ical", "ic"), ("ful", "")),
    "s": (("ness", ""),),
}
_STEP_4 = {
    "a": ("al",),
    "c": ("ance", "ence"),
    "e": ("er",),
    "i": ("ic",),
    "l": ("able", "ible"),
    "n": ("ant", "ement", "ment", "ent"),
    "o": ("ion", "ou"),
    "s": ("ism",),
    "t": ("ate", "iti"),
    "u": ("ous",),
    "v": ("ive",),
    "z": ("ize",),
}


def stem(word: str) -> str:
    """The stem of a lower-case word; anything but the letters a-z counts as a consonant."""
    if _utf16_length(word) <= 2:
        return word
    word = _plural_and_participle(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    # the program looks rules up by the letter before the last, so the word must have one
    word = _replace_suffix(word, _STEP_2.get(word[-2:-1], ()))
    word = _replace_suffix(word, _STEP_3.get(word[-1:], ()))
    word = _strip_suffix(word)
    return _tidy_end(word)


def _utf16_length(word: str) -> int:
    return len(word) if word.isascii() else len(word.encode("utf-16-le", "surrogatepass")) // 2


def _is_consonant(word: str, index: int) -> bool:
    letter = word[index]
    if letter in "aeiou":
        return False
    return letter != "y" or index == 0 or not _is_consonant(word, index - 1)


def _measure(word: str) -> int:
    """How often a run of vowels is followed by a run of consonants: m of the paper."""
    kinds = [_is_consonant(word, index) for index in range(len(word))]
    return sum(now and not before for before, now in pairwise(kinds))


def _has_vowel(word: str) -> bool:
    return any(not _is_consonant(word, index) for index in range(len(word)))


def _ends_double_consonant(word: str) -> bool:
    return len(word) >= 2 and word[-1] == word[-2] and _is_consonant(word, len(word) - 1)


def _ends_consonant_vowel_consonant(word: str) -> bool:
    """The paper's *o: short syllable at the end, the last letter not w, x or y."""
    last = len(word) - 1
    if last < 2 or word[last] in "wxy":
        return False
    return _is_consonant(word, last) and not _is_consonant(word, last - 1) and _is_consonant(word, last - 2)


def _plural_and_participle(word: str) -> str:
    """Steps 1a and 1b."""
    if word.endswith("s"):
        if word.endswith("sses") or word.endswith("ies"):
            word = word[:-2]
        elif not word.endswith("ss"):
            word = word[:-1]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        if word.endswith(suffix):
            root = word[: -len(suffix)]
            return _mend_root(root) if _has_vowel(root) else word
    return word


def _mend_root(root: str) -> str:
    """What is left after -ed or -ing gets back its e, or loses its doubled consonant."""
    if root.endswith(("at", "bl", "iz")):
        return root + "e"
    if _ends_double_consonant(root):
        return root if root[-1] in "lsz" else root[:-1]
    if _measure(root) == 1 and _ends_consonant_vowel_consonant(root):
        return root + "e"
    return root


def _replace_suffix(word: str, rules: Sequence[tuple[str, str]]) -> str:
    """Steps 2 and 3: replace where the rest has a measure above 0."""
    for suffix, replacement in rules:
        if word.endswith(suffix):
            root = word[: -len(suffix)]
            return root + replacement if _measure(root) > 0 else word
    return word


def _strip_suffix(word: str) -> str:
    """Step 4: remove where the rest has a measure above 1."""
    for suffix in _STEP_4.get(word[-2:-1], ()):
        if not word.endswith(suffix):
            continue
        root = word[: -len(suffix)]
        if suffix == "ion" and not root.endswith(("s", "t")):
            continue
        return root if _measure(root) > 1 else word
    return word


def _tidy_end(word: str) -> str:
    """Step 5: a final e, and a final double l."""
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _ends_consonant_vowel_consonant(word[:-1])):
            word = word[:-1]
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word
