r"""Splits running text into words and sentence-like pieces, as character offsets; no torch.

Words are split as in CoNLL-2003, so that a tagger sees words like those of its training data:

- white space, control characters and zero-width characters separate words and belong to none;
- a sign is a word of its own, and so is a run of the same sign (`--`, `...`, `**`);
- hyphens, apostrophes, dots, `&` and `@` between letters or digits stay inside a word (`Sino-Soviet`,
  `O'Neill`, `S&P`, `example.com`), and so do `,:/` between digits (`1,000.5`, `2:29.34`, `1/2`);
- a number keeps a leading plus or dot (`+44`, `.500`), and a dollar sign its country (`US$`);
- English contractions are split: `Vera|'s`, `did|n't`, `we|'re`;
- a dot stays with dotted letters (`U.S.`, `a.m.`), with an initial before a name (`J. Holt`), with common
  abbreviations (`Inc.`, `No. 5`), and with a number of one or two digits that opens a line (`1. Holt`);
- each Han, Hiragana or Katakana character is a word; other scripts without spaces are not split;
- an emoji is one word with its modifiers, and a letter keeps its combining marks.

A piece is what the model reads at once; see `pieces`.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import NamedTuple

import regex

Offsets = tuple[int, int]  # start and end, in characters or words; the end is exclusive
MAX_WORDS = 256  # of a piece of running text
MAX_GIVEN_WORDS = 4096  # of a piece of words that were given as a sentence
_CACHED = 40  # characters of a chunk whose words are kept: text without spaces has no chunk twice
WRAPPED = 40  # characters: a line at least this long may have been wrapped

_TITLES = (
    "Adm|Ave|Brig|Bros|Calif|Capt|Cmdr|Co|Col|Colo|Conn|Corp|Cpl|Dept|Dr|Fla|Gen|Gov|Hon|Inc|Jr|Lt|Ltd|Maj|"
    "Mass|Messrs|Mr|Mrs|Ms|Mt|Prof|Pvt|Rep|Reps|Rev|Sen|Sens|Sgt|Sr|St|Ste|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|"
    "Sept|Oct|Nov|Dec"
)
_CJK = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc"
_AFTER = r"[\p{M}\u00ad\u200c\u200d\u2060\ufe0e\ufe0f]*+"  # what belongs to the letter before it
_LETTER = rf"(?:(?![{_CJK}])[\p{{L}}\p{{N}}_]{_AFTER})"
_END = r"(?![\p{L}\p{N}\p{M}_])"
_CONTRACTED = rf"['’](?i:s|m|d|re|ve|ll){_END}"
_TOKEN = regex.compile(
    rf"""
      (?:https?://|www\.)[^\s<>"]*[^\s<>".,;:!?'’)\]}}]          # an address
    | (?<=(?m:^)[ \t]*)\p{{Nd}}{{1,2}}\.(?=[ \t])                # 1. at the head of a line
    | [+]?[.]?\p{{Nd}}++(?:[.,:/-]\p{{Nd}}++)*+{_END}(?![&@'’-])  # +44, .500
    | \p{{Lu}}{{1,3}}\$                                          # US$
    | \p{{L}}\.(?:-?\p{{L}}\.)++(?![-.\p{{L}}\p{{N}}])           # U.S.
    | \p{{Lu}}\.(?=\s++\p{{Lu}})                                 # J. Holt
    | (?:{_TITLES}|{_TITLES.upper()}|etc|vs)\.(?![-.\p{{L}}\p{{N}}])
    | (?i:nos?|pp?|vol|fig)\.(?=\s*+\p{{Nd}})
    | {_CONTRACTED}
    | (?:(?![{_CJK}])\p{{L}})+(?=(?i:n['’]t){_END})              # did|n't
    | {_LETTER}++
      (?:
        (?!{_CONTRACTED})                                        # Vera|'s
        (?!(?<=\p{{Ll}})\.\p{{Lu}}\p{{Ll}})                      # Lima|.|Vera
        (?:\.-|[-'’&.·@]|(?<=\p{{Nd}})[,:/](?=\p{{Nd}})){_LETTER}++
      )*+
    | (?P<run>[-.*=~\#+])(?P=run)++ | ``|''
    | [{_CJK}]{_AFTER}
    | (?=[^\s\p{{Cc}}\p{{Cf}}\p{{M}}\p{{Z}}])\X                  # any other sign, an emoji
    | \p{{M}}++                                                  # marks on nothing
    """,
    regex.VERBOSE,
)
_CHUNK = re.compile(r"\S+")  # as in regex, but for these:
_ODD_SPACE = re.compile(r"[^\S ]|^ | $|  |^$")  # words are not separated by single spaces alone
_SEPARATORS = re.compile(r"[\x1c-\x1f]")
# Numbers and dots: whether they belong to a word depends on the line, and on the next word.
_IN_CONTEXT = re.compile(r"[.\d]")
_STOP = re.compile(r"[a-z]{5,}\.[\"')\]]*")  # no abbreviation is so long and all in lower case
_FULL_STOPS = frozenset(".!?…‼⁇⁈⁉؟۔।") | {"..", "...", "...."}
_WIDE_STOPS = frozenset("。！？｡")  # no space follows these
_CLOSING = frozenset("\"'”’»›)]}") | {"''"}
_PAUSES = frozenset(",;:—–、，；：") | {"--"}
_BREAK = regex.compile(r"\r\n?|[\n\v\f\x1c-\x1e\x85\u2028\u2029]")


class Document(NamedTuple):
    """A text and its words.

    Attributes:
        text: the text, unchanged.
        sentences: the offsets of the words of each piece that the model reads at once; none is empty.
    """

    text: str
    sentences: tuple[tuple[Offsets, ...], ...]

    @property
    def offsets(self) -> list[Offsets]:
        """Start and end of each word, in characters of the text."""
        return list(chain.from_iterable(self.sentences))

    @property
    def words(self) -> list[list[str]]:
        """The words of each sentence."""
        return [[self.text[start:end] for start, end in sentence] for sentence in self.sentences]


def from_text(text: str) -> Document:
    """Splits a text into words, and these into pieces."""
    return from_tokens(text, words(text))


def from_tokens(text: str, offsets: Sequence[Offsets], starts: Collection[int] | None = None) -> Document:
    """Splits a text with known words into pieces, or into sentences.

    Args:
        text: the text.
        offsets: of its words.
        starts: the characters at which sentences begin, of which the first may be left out; None splits it
            as prediction does.
    """
    if starts is None:
        return Document(text, tuple(tuple(offsets[first:last]) for first, last in pieces(text, offsets)))
    sentences = (offsets[first:last] for first, last in sentences_at(offsets, starts))
    return Document(
        text, tuple(chain.from_iterable(_bounded(text, one, MAX_GIVEN_WORDS) for one in sentences))
    )


def sentences_at(words: Sequence[Offsets], starts: Collection[int]) -> list[Offsets]:
    """Sentences that begin at known characters, none of them empty; see `pieces` for what is returned."""
    firsts = [start for start, _ in words]
    cuts = sorted({0, len(words), *(bisect_left(firsts, start) for start in starts)})
    return list(pairwise(cuts))


def from_spaces(text: str) -> Document:
    """Takes a text as one sentence whose words are separated by white space."""
    offsets = [match.span() for match in regex.finditer(r"\S++", text)]
    return Document(text, _bounded(text, offsets, MAX_GIVEN_WORDS))


def from_words(words: Sequence[str]) -> Document:
    """Takes the words of one sentence; the text is these words joined by single spaces.

    Raises:
        TypeError: it is a text, not a list of words.
    """
    if isinstance(words, str):
        raise TypeError(f"words is the text {words!r:.40}; give a list of words, or use from_text")
    offsets = []
    start = 0
    for word in words:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    text = " ".join(words)
    return Document(text, _bounded(text, offsets, MAX_GIVEN_WORDS))


def words(text: str) -> list[Offsets]:
    """The words of a text, in order, none of them empty; the module's docstring defines them."""
    if _SEPARATORS.search(text):
        return [match.span() for match in _TOKEN.finditer(text)]
    found: list[Offsets] = []
    position = 0
    single = _ODD_SPACE.search(text) is None
    for chunk in text.split(" ") if single else _CHUNK.findall(text):
        start = position if single else text.find(chunk, position)
        position = end = start + len(chunk)
        position += single  # the space
        if chunk.isascii() and chunk.isalpha():  # most words
            found.append((start, end))
        elif _IN_CONTEXT.search(chunk) is None or _STOP.fullmatch(chunk):
            parts = _parts_of(chunk) if len(chunk) <= _CACHED else _parts_of.__wrapped__(chunk)
            found += [(start + first, start + after) for first, after in parts]
        else:
            while start < end and (token := _TOKEN.search(text, start)) and token.start() < end:
                found.append(token.span())
                start = token.end()
    return found


@lru_cache(maxsize=2**16)
def _parts_of(chunk: str) -> tuple[Offsets, ...]:
    """The words of a text without white space, of which none depends on what is around it."""
    return tuple(match.span() for match in _TOKEN.finditer(chunk))


def pieces(text: str, words: Sequence[Offsets]) -> list[Offsets]:
    r"""Splits the words of a running text into sentence-like pieces, none of them empty.

    A piece ends before a blank line; at a line break after a line of fewer than `WRAPPED` characters, which
    was not wrapped (a heading, an address); and after a full stop, question or exclamation mark, with its
    closing quotes and brackets, unless a lower-case letter follows. One of more than `MAX_WORDS` words is
    split after a comma or a similar sign.

    Returns:
        the index of the first word of each piece, and the index after its last word.
    """
    cuts = [0]
    stopped = False  # whether the last word was a full stop, apart from closing signs
    line = 0  # start of the line
    for number, ((start, end), (after, _)) in enumerate(pairwise(words), start=1):
        if text[end:after] == " " and text[end - 1].isalnum():  # no stop, and no line break
            stopped = False
            continue
        word = text[start:end]
        stopped = word in _FULL_STOPS or word in _WIDE_STOPS or (stopped and word in _CLOSING)
        if after == end:
            ends = word in _WIDE_STOPS and text[after] not in _CLOSING and text[after] not in _WIDE_STOPS
        else:
            gap = text[end:after]
            breaks = [] if gap == " " else [match.span() for match in _BREAK.finditer(gap)]
            ends = stopped and not text[after].islower()
            if breaks:
                ends = ends or len(breaks) > 1 or end + breaks[0][0] - line < WRAPPED
                line = end + breaks[-1][1]
        if ends:
            cuts.append(number)
            stopped = False
    ranges = zip(cuts, [*cuts[1:], len(words)], strict=True)
    return [part for first, last in ranges if first < last for part in _parts(text, words, first, last)]


def _parts(
    text: str, words: Sequence[Offsets], first: int, last: int, longest: int = MAX_WORDS
) -> Iterator[Offsets]:
    """Splits a range of words into ranges of at most `longest`, after a comma or similar if there is one."""
    while last - first > longest:
        latest = range(first + longest, first + longest // 2, -1)
        pauses = (cut for cut in latest if text[slice(*words[cut - 1])] in _PAUSES)
        cut = next(pauses, first + longest)
        yield first, cut
        first = cut
    yield first, last


def _bounded(text: str, words: Sequence[Offsets], longest: int) -> tuple[tuple[Offsets, ...], ...]:
    parts = _parts(text, words, 0, len(words), longest) if words else ()
    return tuple(tuple(words[first:last]) for first, last in parts)
