"""The compiled redactor: one text, bytes, JSON values of any nesting, and streams."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate, compress, count
from operator import ne, not_
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
        if before == " ":
            touches = padded[start - 2].isdecimal()
        else:
            touches = before not in _APART and (before.isalnum() or before in _BESIDE)
        if after == " ":
            touches = touches or padded[end + 1].isdecimal()
        elif after not in _APART:
            touches = touches or after.isalnum() or after in _BEHIND
        if touches:
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
            if self._scanner.finds(_head(value)):
                return False
            return self._scanner.is_clean(orjson.dumps(value).decode())
        except TypeError:  # what JSON can't hold: bytes, sets, cycles, huge integers
            return False

    def _rewrite_all(self, texts: list[str], contexts: dict[int, str]) -> dict[int, str]:
        """Redact ``texts``, each read behind its context word, if any; return those that changed, by index.

        Texts of ASCII are read apart from the others: most rules have a shorter way for them.
        """
        ascii_only = list(map(str.isascii, texts))
        if all(ascii_only) or not any(ascii_only):
            return self._settled(texts, contexts)
        changed: dict[int, str] = {}
        for chosen in (ascii_only, list(map(not_, ascii_only))):
            indexes = list(compress(count(), chosen))
            known = (
                {place: contexts[index] for place, index in enumerate(indexes) if index in contexts} if contexts else {}
            )
            settled = self._settled(list(compress(texts, chosen)), known)
            changed.update(zip(map(indexes.__getitem__, settled), settled.values(), strict=True))
        return changed

    def _settled(self, texts: list[str], contexts: dict[int, str]) -> dict[int, str]:
        """Redact ``texts`` together, again and again until nothing more is found; return those that changed."""
        changed, pending = self._one_round(texts, contexts)
        for _ in range(_ROUNDS - 1):
            if not pending:
                return changed
            known = {place: contexts[index] for place, index in enumerate(pending) if index in contexts}
            dirty, unsettled = self._one_round([changed[index] for index in pending], known)
            changed |= {pending[place]: text for place, text in dirty.items()}
            pending = [pending[place] for place in unsettled]
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
        # NUL is counted first: one character takes a fraction of the time of three.
        if self._rules or (text.count("\0") >= len(joined) and text.count(_SEPARATOR) >= len(joined)):
            dirty = self._each(texts, joined, spans)
            return dirty, list(dirty)
        if not spans:
            return {}, []
        rewritten = self._written(text, spans).split(_SEPARATOR)
        if len(rewritten) != len(joined):  # a value that reaches from one text into the next
            dirty = self._each(texts, joined, spans)
            return dirty, list(dirty)
        dirty = {index: rewritten[index] for index in compress(count(), map(ne, joined, rewritten))}
        for index in contexts.keys() & dirty.keys():
            dirty[index] = dirty[index][len(contexts[index]) :]
        return dirty, self._unsettled(text, joined, spans, dirty)

    def _written(self, text: str, spans: list[Found]) -> str:
        """Return ``text`` with the tokens of ``spans`` in their places."""
        token, fixed = self._replacement.token, self._replacement.fixed
        parts: list[str] = []
        position = 0
        if fixed:
            for start, end, _ in spans:
                parts.append(text[position:start])
                position = end
            parts.append(text[position:])
            return fixed.join(parts)
        for start, end, label in spans:
            parts += (text[position:start], token(label, text[start:end]))
            position = end
        parts.append(text[position:])
        return "".join(parts)

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
            # A value may reach through several texts: the lines of a private key in a list.
            for index in range(bisect_right(starts, first) - 1, bisect_left(starts, last)):
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
