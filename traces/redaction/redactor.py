"""The compiled redactor: one text, bytes, JSON values of any nesting, and streams."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

import orjson

from traces.redaction.custom import CustomRule, TooManyMatchesError, find_custom
from traces.redaction.replacement import Replacement
from traces.redaction.scanner import Categories, Scanner
from traces.redaction.spans import Found, Hit, Label, Span, merge
from traces.redaction.streams import RedactionStream, rewrite
from traces.redaction.tree import Tree

# Between two texts that are scanned together: a line break and a character that no value may contain.
_SEPARATOR = "\n\x00\n"
# Redaction is repeated until nothing is found, so that redacting twice is redacting once. It settles in the first round
# nearly always; a text that does not settle is replaced whole.
_ROUNDS = 4

_MANY = 16  # items of a list; to look at the first few of fewer saves nothing
_HEAD_ITEMS = 8
_HEAD_CHARACTERS = 1024

# What a neighbour of a value may look at: the character beside it, or a space or dash and a digit.
_BESIDE = frozenset("_.%+:/@\\-")
_BEHIND = _BESIDE | {"("}  # which opens a phone number
_APART = frozenset("\n\"'),;<>=[]{}|")  # of the other characters the most frequent


def _touching(text: str, spans: list[Found]) -> list[int]:
    """Return where those spans begin that touch a word, or a digit across a space or dash."""
    padded = text + "\n\n"  # which is also what stands before the first character
    touching: list[int] = []
    for start, end, _ in spans:
        before, after = padded[start - 1], padded[end]
        if (
            (before == " " and padded[start - 2].isdecimal())
            or (before not in _APART and (before.isalnum() or before in _BESIDE))
            or (after == " " and padded[end + 1].isdecimal())
            or (after not in _APART and (after.isalnum() or after in _BEHIND))
        ):
            touching.append(start)
    return touching


def _head(value: Any) -> str:
    """Return the first items of a long list, which is ``value`` or stands in it, as JSON; else nothing."""
    lists = (value,) if isinstance(value, list) else value.values()
    longest = next((item for item in lists if isinstance(item, list) and len(item) >= _MANY), None)
    return orjson.dumps(longest[:_HEAD_ITEMS]).decode()[:_HEAD_CHARACTERS] if longest else ""


class Redactor:
    """Redacts copies of values. Made by ``PIIRedactionHook.compile``; thread-safe, and never changes its argument."""

    def __init__(self, categories: Categories, rules: tuple[CustomRule, ...], replacement: Replacement) -> None:
        self._categories = categories
        self._scanner = Scanner(categories)
        self._rules = rules
        self._replacement = replacement

    def spans(self, text: str) -> list[Span]:
        """Return what would be replaced in ``text``, in order, without overlaps; offsets are characters."""
        return [hit.span for hit in self.hits(text)]

    def hits(self, text: str) -> list[Hit]:
        """Return the spans of ``text`` with their tokens."""
        return self._hits(text, self._scanner.spans(self._replacement.masked(text)))

    def redact(self, value: Any) -> Any:
        """Return a copy of ``value`` in which every recognised value is replaced by its token.

        Takes text, bytes and JSON values with tuples and sets; other objects are redacted as their ``str``. What is
        unchanged may be shared with the argument. Never raises for the form of ``value``: what can't be read (a cycle,
        more than 100 levels) is replaced whole.
        """
        if isinstance(value, (dict, list)) and not self._rules and self._is_clean(value):
            return value
        secrets, every_name = self._categories.secrets, bool(self._rules)
        return Tree(self._replacement, self._rewrite_all, secrets=secrets, every_name=every_name).redact(value)

    def stream(self) -> RedactionStream:
        """Return a redactor of one text that arrives in chunks."""
        return RedactionStream(self)

    def _is_clean(self, value: Any) -> bool:
        """Whether one look at the whole value as JSON shows that nothing is to be redacted."""
        try:
            # Where there is much to redact, the first items show it.
            if self._scanner.spans(_head(value)):
                return False
            return self._scanner.is_clean(orjson.dumps(value).decode())
        except TypeError:  # what JSON can't hold: bytes, sets, cycles, huge integers
            return False

    def _rewrite_all(self, texts: list[str], contexts: dict[int, str]) -> dict[int, str]:
        """Redact ``texts``, each read behind its context word, if any; return those that changed, by index.

        Texts of ASCII are read apart from the others: most rules have a shorter way for them.
        """
        foreign = [index for index, text in enumerate(texts) if not text.isascii()]
        if not foreign or len(foreign) == len(texts):
            return self._settled(texts, contexts)
        plain = [index for index, text in enumerate(texts) if text.isascii()]
        changed: dict[int, str] = {}
        for indexes in (plain, foreign):
            known = {place: contexts[index] for place, index in enumerate(indexes) if index in contexts}
            settled = self._settled([texts[index] for index in indexes], known)
            changed |= {indexes[place]: text for place, text in settled.items()}
        return changed

    def _settled(self, texts: list[str], contexts: dict[int, str]) -> dict[int, str]:
        """Redact ``texts`` together, again and again until nothing more is found; return those that changed."""
        changed: dict[int, str] = {}
        pending = list(range(len(texts)))
        current = texts
        for _ in range(_ROUNDS):
            dirty, unsettled = self._one_round(current, contexts)
            changed |= {pending[index]: text for index, text in dirty.items()}
            if not unsettled:
                return changed
            contexts = {position: contexts[index] for position, index in enumerate(unsettled) if index in contexts}
            pending = [pending[index] for index in unsettled]
            current = [dirty[index] for index in unsettled]
        return changed | {index: self._replacement.token(Label.GENERIC_SECRET) for index in pending}

    def _one_round(self, texts: list[str], contexts: dict[int, str]) -> tuple[dict[int, str], list[int]]:
        """Return the texts that changed, by index, and which of them must be looked at again."""
        joined = texts
        if contexts:
            joined = texts.copy()
            for index, context in contexts.items():
                joined[index] = context + texts[index]
        text = _SEPARATOR.join(joined)
        spans = self._scanner.spans(self._replacement.masked(text))
        if self._rules or text.count(_SEPARATOR) >= len(joined):
            dirty = self._each(texts, joined, spans)
            return dirty, list(dirty)
        if not spans:
            return {}, []
        token, fixed = self._replacement.token, self._replacement.fixed
        parts: list[str] = []
        position = 0
        for start, end, label in spans:
            parts += (text[position:start], fixed or token(label, text[start:end]))
            position = end
        parts.append(text[position:])
        rewritten = "".join(parts).split(_SEPARATOR)
        dirty = {
            index: new[len(contexts[index]) :] if index in contexts else new
            for index, (old, new) in enumerate(zip(joined, rewritten, strict=True))
            if old != new
        }
        return dirty, self._unsettled(text, joined, spans, dirty)

    def _unsettled(self, text: str, joined: list[str], spans: list[Found], dirty: dict[int, str]) -> list[int]:
        """Return the texts in which a token touches what stands beside it, so that this may now be read differently."""
        touching = _touching(text, spans)
        if not touching:
            return []
        starts = list(accumulate([len(part) + len(_SEPARATOR) for part in joined], initial=0))
        return sorted({bisect_right(starts, start) - 1 for start in touching} & dirty.keys())

    def _each(self, texts: list[str], joined: list[str], spans: list[Found]) -> dict[int, str]:
        """Redact text by text: the way when there are patterns, which see one text at a time."""
        starts = list(accumulate([len(text) + len(_SEPARATOR) for text in joined], initial=0))
        found: dict[int, list[Found]] = {}
        for first, last, label in spans:
            index = bisect_right(starts, first) - 1
            base = starts[index] + len(joined[index]) - len(texts[index])
            start, end = max(0, first - base), min(last - base, len(texts[index]))
            if start < end:
                found.setdefault(index, []).append((start, end, label))
        dirty: dict[int, str] = {}
        for index, text in enumerate(texts):
            rewritten = rewrite(text, self._hits(text, found.get(index, [])), 0, len(text))
            if rewritten != text:
                dirty[index] = rewritten
        return dirty

    def _hits(self, text: str, found: list[Found]) -> list[Hit]:
        custom: dict[Found, str] = {}
        if self._rules:
            try:
                custom = dict(find_custom(self._rules, text))
            except TooManyMatchesError:
                whole = Span(0, len(text), Label.CUSTOM)
                return [Hit(whole, self._replacement.token(Label.CUSTOM))]
            custom = self._outside_tokens(text, custom)
        spans = merge([*found, *custom]) if custom else found
        return [
            Hit(
                Span(*span),
                custom[span] if span in custom else self._replacement.token(span[2], text[span[0] : span[1]]),
            )
            for span in spans
        ]

    def _outside_tokens(self, text: str, custom: dict[Found, str]) -> dict[Found, str]:
        """Leave out matches inside a token that is already there: redacting twice changes nothing."""
        tokens = [match.span() for match in self._replacement.token_pattern.finditer(text)]
        for literal in {rule.template for rule in self._rules}:
            position = text.find(literal) if literal else -1
            while position >= 0:
                tokens.append((position, position + len(literal)))
                position = text.find(literal, position + len(literal))
        if not tokens:
            return custom
        return {
            span: token
            for span, token in custom.items()
            if not any(start <= span[0] and span[1] <= end for start, end in tokens)
        }
