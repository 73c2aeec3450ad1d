r"""Running text -> words and sentence-like pieces, as character offsets; no model, no torch.

Words are cut as in CoNLL-2003, so that a tagger trained there sees what it was trained on:

- white space, control characters and characters of no width part words and belong to none;
- punctuation is a word of its own, and so is each run of one sign (`--`, `...`, `**`);
- hyphens, apostrophes, dots, `&` and `@` stay inside a word, between letters or digits: `Sino-Soviet`,
  `O'Neill`, `S&P`, `example.com`; so do `.,:/-` between digits: `1,000.5`, `6-4`, `1996-08-22`, `1/2`;
- a sign before a number and a currency's letters stay with it: `+44`, `.500`, `US$`;
- English contractions come apart: `Vera|'s`, `did|n't`, `we|'re`;
- a dot stays with dotted letters (`U.S.`, `a.m.`), with an initial before a name (`J. Holt`), with the
  abbreviations below, and with a number of one or two digits that opens a line (`1. Holt`);
- Han, Hiragana and Katakana are a word each; Thai and others without spaces stay whole;
- an emoji is one word, with all that modifies it, and a letter keeps its combining marks.

Sentences only bound what the model looks at together; see `sentences`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import regex

Offsets = tuple[int, int]  # the first character, and one past the last one
LONGEST = 256  # words in a piece; few sentences have a hundred
WRAPPED = 40  # a line at least this long may have been broken to fit a page

_ABBREVIATIONS = frozenset(
    "adm ave brig bros calif capt cmdr col colo conn cpl dept dr est etc fla gen gov hon inc jan feb mar apr "
    "jun jul aug sep sept oct nov dec jr lt ltd maj mass messrs mr mrs ms mt no nos pa pp prof pvt rep reps "
    "rev sen sens sgt sr st ste vol vs corp co".split()
)
_INSIDE = r"[\p{M}\u00ad\u200c\u200d\u2060\ufe0e\ufe0f]"
_LETTER = rf"(?:(?![\p{{Han}}\p{{Hiragana}}\p{{Katakana}}])[\p{{L}}\p{{N}}_]{_INSIDE}*+)"
_TOKEN = regex.compile(
    rf"""
      (?:https?://|www\.)[^\s<>"]*[^\s<>".,;:!?'’)\]}}]                    # an address
    | (?<![\p{{L}}\p{{N}}])[+]?[.]?\p{{Nd}}++(?:[.,:/-]\p{{Nd}}++)*+(?![\p{{L}}\p{{N}}\p{{M}}_&@'’-])   # a number
    | \p{{Lu}}{{1,3}}\$                                                    # US$
    | {_LETTER}++(?:[-'’&.@·]{_LETTER}++|(?<=\p{{Nd}})[,:/](?=\p{{Nd}}){_LETTER}++)*+
    | ([-.*=_~#+])\1++ | ``|''
    | [\p{{Han}}\p{{Hiragana}}\p{{Katakana}}ー]{_INSIDE}*+
    | (?=[^\s\p{{C}}\p{{M}}\p{{Z}}]|[\p{{Co}}\p{{Cn}}\p{{Cs}}])\X                          # any other sign, an emoji
    | \p{{M}}++                                                            # marks that mark nothing
    """,
    regex.VERBOSE,
)
