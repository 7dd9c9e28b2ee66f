"""The compiled redactor: one text, bytes, JSON values of any nesting, and streams."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

from traces.redaction.custom import CustomRule, TooManyMatchesError, find_custom
from traces.redaction.replacement import Replacement
from traces.redaction.scanner import Categories, Scanner
from traces.redaction.spans import Hit, Label, Span, merge
from traces.redaction.streams import RedactionStream, rewrite
from traces.redaction.tree import Tree

# Between two texts that are scanned together: a line break and a character that no value may contain.
_SEPARATOR = "\n\x00\n"
# Redaction is repeated until nothing is found, so that redacting twice is redacting once. It settles in the first round
# nearly always; a text that does not settle is replaced whole.
_ROUNDS = 4


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
        return self._hits(text, self._scanner.spans(text))

    def redact(self, value: Any) -> Any:
        """Return a copy of ``value`` in which every recognised value is replaced by its token.

        Takes text, bytes and JSON values with tuples and sets; other objects are redacted as their ``str``. What is
        unchanged may be shared with the argument. Never raises for the form of ``value``: what can't be read (a cycle,
        more than 100 levels) is replaced whole.
        """
        return Tree(self._replacement, self._rewrite_all, secrets=self._categories.secrets).redact(value)

    def stream(self) -> RedactionStream:
        """Return a redactor of one text that arrives in chunks."""
        return RedactionStream(self)

    def _rewrite_all(self, texts: list[str], contexts: dict[int, str]) -> dict[int, str]:
        """Redact ``texts`` together, each read behind its context word, if any; return those that changed, by index."""
        changed: dict[int, str] = {}
        pending = list(range(len(texts)))
        current = texts
        for _ in range(_ROUNDS):
            dirty = self._one_round(current, contexts)
            changed |= {pending[index]: text for index, text in dirty.items()}
            if not dirty:
                return changed
            contexts = {position: contexts[index] for position, index in enumerate(dirty) if index in contexts}
            pending = [pending[index] for index in dirty]
            current = list(dirty.values())
        return changed | {index: self._replacement.token(Label.GENERIC_SECRET) for index in pending}

    def _one_round(self, texts: list[str], contexts: dict[int, str]) -> dict[int, str]:
        joined = texts
        if contexts:
            joined = texts.copy()
            for index, context in contexts.items():
                joined[index] = context + texts[index]
        starts = list(accumulate((len(text) + len(_SEPARATOR) for text in joined), initial=0))
        found: dict[int, list[Span]] = {}
        for span in self._scanner.spans(_SEPARATOR.join(joined)):
            index = bisect_right(starts, span.start) - 1
            base = starts[index] + len(contexts.get(index, ""))
            start, end = max(0, span.start - base), min(span.end - base, len(texts[index]))
            if start < end:
                found.setdefault(index, []).append(Span(start, end, span.label))
        dirty: dict[int, str] = {}
        for index in range(len(texts)) if self._rules else found:
            text = texts[index]
            rewritten = rewrite(text, self._hits(text, found.get(index, [])), 0, len(text))
            if rewritten != text:
                dirty[index] = rewritten
        return dirty

    def _hits(self, text: str, found: list[Span]) -> list[Hit]:
        custom: dict[Span, str] = {}
        if self._rules:
            try:
                custom = dict(find_custom(self._rules, text))
            except TooManyMatchesError:
                whole = Span(0, len(text), Label.CUSTOM)
                return [Hit(whole, self._replacement.token(Label.CUSTOM))]
            custom = self._outside_tokens(text, custom)
        spans = merge([*found, *custom]) if custom else found
        return [
            Hit(span, custom[span] if span in custom else self._replacement.token(span.label, text[span.start : span.end]))
            for span in spans
        ]

    def _outside_tokens(self, text: str, custom: dict[Span, str]) -> dict[Span, str]:
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
            if not any(start <= span.start and span.end <= end for start, end in tokens)
        }
