"""Text to search terms, exactly as Lucene's English analysis does it (the analyzer behind the original search).

Unicode word segmentation (UAX #29 with Lucene's additions for emoji and South-East Asian scripts), lower case,
possessive endings off, 33 stop words out, Porter stems.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from prism.environments.webshop import word_break

# Raised whenever the same text gives other terms: an index remembers it.
ANALYSIS_VERSION = 1

_STOP_WORDS = """a an and are as at be but by for if in into is it no not of on or such that the their then there these
they this to was will with"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
MAX_TOKEN_LENGTH = 255
_APOSTROPHES = "'’＇"


def terms(text: str) -> list[str]:
    """Search terms of a text, in order, repeats included."""
    found = (term_of(token) for token in tokenize(text))
    return [term for term in found if term is not None]


def term_of(token: str) -> str | None:
    """The search term of one token; None for a stop word."""
    word = _lower(token)
    if len(word) >= 2 and word[-1] == "s" and word[-2] in _APOSTROPHES:
        word = word[:-2]
    return None if word in STOP_WORDS else _stemmer().stem(word, to_lowercase=False)


@functools.cache
def _stemmer() -> Any:
    """Porter's own later program, which Lucene follows; the paper's rules and Snowball's give other terms."""
    # here, not above: the import takes seconds, and a plan has no text to analyse
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer(mode=PorterStemmer.MARTIN_EXTENSIONS)


def tokenize(text: str) -> list[str]:
    """Split a text into words, numbers, ideographs and emoji; everything else separates.

    Tokens over 255 characters are cut into pieces of at most that length, as Lucene's scanner does.
    """
    pattern = _ASCII_TOKEN if text.isascii() else _token_pattern()
    tokens = pattern.findall(text)
    if tokens and max(map(len, tokens)) > MAX_TOKEN_LENGTH:
        return _tokenize_in_windows(text, pattern)
    return tokens


def _tokenize_in_windows(text: str, pattern: re.Pattern[str]) -> list[str]:
    tokens, position = [], 0
    while match := pattern.search(text, position):
        start = match.start()
        if match.end() - start > MAX_TOKEN_LENGTH:
            match = pattern.match(text, start, start + MAX_TOKEN_LENGTH)
        if match is None:
            position = start + 1
            continue
        tokens.append(match.group())
        position = match.end()
    return tokens


def _lower(token: str) -> str:
    if token.isascii():
        return token.lower()
    # one character in, one out: Lucene lowers code point by code point, without context or expansion
    return "".join("i" if char == "İ" else lowered if len(lowered := char.lower()) == 1 else char for char in token)


def _members(*classes: str) -> str:
    """The inside of a regular expression's character class."""
    members = []
    for code_points in classes:
        for item in code_points.split():
            low, _, high = item.partition("-")
            members.append(re.escape(chr(int(low, 16))))
            if high:
                members.append("-" + re.escape(chr(int(high, 16))))
    return "".join(members)


@functools.cache
def _token_pattern() -> re.Pattern[str]:
    """The segmentation rules WB4 to WB13 as one expression.

    Made at the first text that needs it: it takes a quarter of a second, and a plan has no text to analyse. Possessive
    repeats would be faster, and are wrong before Python 3.11.5 where one stands within another.
    """
    extend = f"[{_members(word_break.EXTEND)}]*"

    def unit(*classes: str) -> str:
        return f"[{_members(*classes)}]{extend}"

    underscore = unit(word_break.EXTEND_NUM_LET)
    underscores = f"(?:{underscore})*"
    hebrew, number = unit(word_break.HEBREW), unit(word_break.NUMERIC)
    letter, katakana = unit(word_break.LETTER, word_break.HEBREW), unit(word_break.KATAKANA)
    quote, double_quote = f"'{extend}", f'"{extend}'
    inner_letter = unit(word_break.MID_LETTER, word_break.MID_NUM_LET)
    inner_number = unit(word_break.MID_NUM, word_break.MID_NUM_LET)

    # WB7a-7c: a Hebrew letter keeps its quote
    hebrew_quoted = f"{hebrew}(?:{quote}|{double_quote}{hebrew})"
    plain_letter = f"(?!{hebrew_quoted}){letter}"
    numbers = f"{number}(?:(?:{underscores}|{inner_number}){number})*"
    letters = f"{plain_letter}(?:{underscores}{plain_letter}|{inner_letter}{letter})*"
    core = f"(?:{katakana}(?:{underscores}{katakana})*|(?:{hebrew_quoted}|{numbers}|{letters})+)"
    word = f"{underscores}{core}(?:(?:{underscore})+{core})*{underscores}"

    joiner, presentation = "\u200d", "\ufe0f"
    marks = f"(?:(?![\ufe0e\ufe0f])[{_members(word_break.EXTEND)}])*"
    pictograph = f"{joiner}*[{_members(word_break.EMOJI)}]{marks}{presentation}?"
    skin_tone = f"[{_members(word_break.EMOJI_MODIFIER)}]{marks}"
    emoji_unit = f"(?:{pictograph}|{skin_tone})"
    emoji = f"{emoji_unit}(?:(?:(?<={joiner})|{joiner}){emoji_unit})*"
    flag = f"(?:[\U0001f1e6-\U0001f1ff]{extend}){{2}}"
    # digits with a keycap are numbers to the word rule already
    keycap = f"[#*](?:(?![\ufe0e\ufe0f])[{_members(word_break.EXTEND)}])*{presentation}?\u20e3{marks}"
    southeast_asian = f"(?:{unit(word_break.SOUTHEAST_ASIAN)})+"
    ideograph = unit(word_break.IDEOGRAPH)
    return re.compile("|".join([word, emoji, flag, keycap, southeast_asian, ideograph]))


# The same rules where all is ASCII: letters, digits, underscore, and what may stand between two letters or two digits.
_ASCII_NUMBERS = r"[0-9](?:(?:_*|[.,;'])[0-9])*"
_ASCII_LETTERS = r"[A-Za-z](?:(?:_*|[.:'])[A-Za-z])*"
_ASCII_CORE = f"(?:{_ASCII_NUMBERS}|{_ASCII_LETTERS})+"
_ASCII_TOKEN = re.compile(f"_*{_ASCII_CORE}(?:_+{_ASCII_CORE})*_*")
