"""Finds every span of a text: a few linear RE2 passes find triggers, an anchored validator judges each."""

# ruff: noqa: E501  patterns are kept whole, and hold look-alike characters on purpose

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from traces.redaction import addresses, credentials, tokens
from traces.redaction.canonical import FILLER, canonical_view, scan_bytes
from traces.redaction.documents import find_iban, find_passport
from traces.redaction.emails import find_emails
from traces.redaction.engine import Finder, Pattern, compile_finder, compile_pattern
from traces.redaction.keys import NAME_TRIGGER, KeyKind, kind_of
from traces.redaction.numeric import belongs_before, find_card, find_phone, find_ssn, is_number_context
from traces.redaction.spans import Found, Label, merge


class Categories(NamedTuple):
    """Which families of values are searched for."""

    emails: bool
    phones: bool
    secrets: bool
    cards: bool
    ids: bool
    ips: bool


Validator = Callable[[str, int, int], Found | None]


class _Pass(NamedTuple):
    """A trigger pattern, the judge of its matches, and whether a match can hide another that begins inside it."""

    find: Finder
    validate: Validator
    nested: bool


_LONG_PHONE_WORDS = (
    r"phones?|mobile|landline|telefon\w{0,7}|t.l.phone|tel.fono|telefone|telefoon|whatsapp|handynummer|rufnummer|durchwahl|cellulare|celular"
    r"|msisdn|hotline|helpline"
)
_SHORT_PHONE_WORDS = r"ph|t\?l|mobil|mob|cell|tel|fax|sms|handy|portable|m.vil|gsm|contact[ _-]?(?:no|num|number|nr)|my (?:\w+ )?number is|call|dial|ring|text|reach|toll.?free|pager"
_NUMBER = r"[+(]{0,2}\d(?:[ ().\-/]{0,3}\d){6}"
_CARD_TRIGGER = r"\b[2-9]\d{3}(?:[ -]?\d{4}){2}[ -]?\d|\b3\d{3}[ -]\d{6}[ -]\d{4}"
_SSN_TRIGGER = r"\b\d{3}-\d{2}-\d{4}\b|\b\d{3} \d{2} \d{4}\b|(?i:\bssn\b|\bsocial.?sec)[^\d\n\x00]{0,24}\d{9}\b"
_PHONE_TRIGGER = (
    r"\+\(?\d(?:[ ().\-/]{0,3}\d){6}"
    r"|\b00[1-9](?:[ ().\-/]{0,3}\d){7}"
    r"|\([2-9]\d{2}\)[-. ]?\d{3}[-. ]\d{4}\b|\b[2-9]\d{2}[-. ]\d{3}[-. ]\d{4}\b|\b1[-. ]\(?[2-9]\d{2}\)?[-. ]\d{3}[-. ]\d{4}\b"
    r"|\(\d\d\) ?9?\d{4}-\d{4}\b|\b1[3-9]\d[ -]\d{4}[ -]\d{4}\b"
    r"|(?:\(|\b)0[1-9]\d{0,4}\)?[ ./-]{0,2}\d{2,8}(?:[ ./-]?\d){2}"
    r"|\b[6-9]\d{4}[ -]\d{5}\b"
    rf"|(?i:(?:{_LONG_PHONE_WORDS}|(?:\b|_)(?:{_SHORT_PHONE_WORDS}))(?:[^a-z\d\n\x00|\]][^\d\n\x00|\]]{{0,24}}|number[^\d\n\x00|\]]{{0,8}}|n[or][^\d\n\x00|\]]{{0,8}})?){_NUMBER}"
    rf"|(?:\?\?)[^\d\n\x00]{{1,10}}{_NUMBER}"
)
_PASSPORT_WORDS = r"passport|passeport|reisepass|pasaporte|passaporto?|paspoort|paszport|pasaport"
_DOCUMENT_TRIGGER = rf"\b(?:[A-Z]{{2}}\d\d[ -]?[A-Z0-9]{{4}}[ -]?[A-Z0-9]{{4}}|[a-z]{{2}}\d\d ?[a-z0-9]{{4}} ?[a-z0-9]{{4}})|(?i:{_PASSPORT_WORDS})[^\n\x00|\]]{{0,40}}\d|(?:\?\?)[^\n\x00]{{0,14}}\d\w{{0,3}}\d|(?i:iban)[^\n\x00\d]{{0,12}}\d\d"

LONGEST_IDLE_WORD = 15  # letters; the shortest token without a digit or sign has more
_IBAN_HEAD = 4  # characters of the country and the check digits
_PASSPORT_WORD = re.compile(rf"(?i){_PASSPORT_WORDS}|护照|護照|旅券|パスポート|паспорт|여권")
_FOREIGN_PHONE_WORD = re.compile("電話|电话|手机|手機|携帯|(?i:тел|моб)|전화|핸드폰|联系")
_DIGIT = re.compile(r"\d")
_NUMBER_OPENINGS = 2  # characters + and ( that may stand before the first digit
_DOCUMENT_NUMBER = re.compile(r"[A-Za-z0-9]+")
_LINE_END = re.compile(r"[\n\x00|\]]")
_PASSPORT_STARTS = frozenset("pPrR")
_PASSPORT_REACH = 64
_COUNTRY = 2  # letters that may stand apart before the digits of a document
_DOCUMENT_NUMBERS = 4  # words with a digit, or as short as a country's letters, that are tried
_DOCUMENT_WORDS = 6  # words that may stand between "passport" and its number


class Scanner:
    """Finds the spans of the given categories. Thread-safe: holds only compiled patterns."""

    def __init__(self, categories: Categories) -> None:
        self._categories = categories
        self._passes = _passes(categories)

    def spans(self, text: str) -> list[Found]:
        """Return the spans of ``text`` in order, without overlaps; offsets are characters."""
        view = canonical_view(text)
        buffer = scan_bytes(view)
        found = list(self._found_emails(view))
        for scan_pass in self._passes:
            found += _scan(scan_pass, view, buffer)
        return merge(found)

    def finds(self, text: str) -> bool:
        """Whether there is any span in ``text``."""
        view = canonical_view(text)
        buffer = scan_bytes(view)
        found = chain(self._found_emails(view), *(_scan(scan_pass, view, buffer) for scan_pass in self._passes))
        return next(found, None) is not None

    def _found_emails(self, view: str) -> Iterator[Found]:
        found = find_emails(view)
        if not self._categories.emails:
            found = (span for span in found if span[2] is not Label.EMAIL)
        if not self._categories.secrets:
            found = (span for span in found if span[2] is not Label.URL_CREDENTIALS)
        return found

    def is_clean(self, document: str) -> bool:
        """Whether nothing in a JSON ``document`` would be redacted, field names included.

        A quick answer for the usual case: it may be wrong in the direction of False only.
        """
        if _DEEPLY_ESCAPED in document or _ESCAPED_LETTER.search(document) is not None:
            return False
        view = canonical_view(document)
        buffer = scan_bytes(view)
        if next(find_emails(view), None) is not None:
            return False
        if _any_trigger(self._categories).search(buffer) is None:
            return True
        if self._categories.secrets or self._categories.phones or self._categories.ids:
            for match in _NAMES.finditer(buffer):
                start, end = match.span()
                name = view[view.rfind('"', 0, start + 1) + 1 : view.rfind('"', start, end)].replace(FILLER, "")
                unset = view[end : end + 8].lstrip(" ").startswith(_UNSET)
                if not unset and (view[end - 1] == ":" or _NAME.fullmatch(name)) and kind_of(name) is not KeyKind.PLAIN:
                    return False
        return all(next(_scan(scan_pass, view, buffer), None) is None for scan_pass in self._passes)


@lru_cache(maxsize=8192)
def is_idle_word(text: str) -> bool:
    """Whether ``text``, of up to ``LONGEST_IDLE_WORD`` characters, is a word such as a role or a status.

    Such a word holds no value, and is not the context of one that may stand beside it.
    """
    return text.isascii() and text.isalpha() and kind_of(text) is KeyKind.PLAIN and not is_number_context(text)


def _scan(scan_pass: _Pass, view: str, buffer: bytes) -> Iterator[Found]:
    find, validate, nested = scan_pass
    position = refused_end = misses = 0
    size = len(buffer)
    while True:
        start, end = find(buffer, position, size)[0]
        if start < 0:
            return
        span = validate(view, start, end)
        if span is not None:
            yield span
            position = span[1] if span[1] > start else start + 1
            continue
        misses = misses + 1 if start < refused_end else 0
        refused_end = end
        # A refused trigger may hide another one. In a long chain of them, such as a table of numbers, only some are tried.
        position = _next_start(buffer, start, end) if nested and misses < _MAX_MISSES else end


_GROUP = re.compile(rb"\?+|\W*\w+")  # characters that are not ASCII are no reason to pass over the word behind them
_MAX_MISSES = 4


def _next_start(buffer: bytes, start: int, end: int) -> int:
    """Where to look on in a refused trigger: behind its first word."""
    group = _GROUP.match(buffer, start, end)
    return end if group is None else group.end()


_NAME = re.compile(r"[^\s=]+")
_DEEPLY_ESCAPED = "\\" * 7  # JSON in JSON in JSON in JSON is read level by level
_ESCAPED_LETTER = re.compile(r"\\\\u00[2-7]")  # of JSON in JSON, which may stand in a name
_UNSET = ("null", "true", "false")
_NAMES = compile_pattern(NAME_TRIGGER.encode("ascii"))


@lru_cache(maxsize=64)
def _passes(categories: Categories) -> tuple[_Pass, ...]:
    passes = [
        (categories.secrets, tokens.TRIGGER, tokens.find_token, True),
        (categories.secrets, credentials.TRIGGER, credentials.find_credential, False),
        (_has_values(categories), _value_trigger(categories), _value_validator(categories), True),
        (categories.ips, addresses.TRIGGER, addresses.find_ip, False),
    ]
    return tuple(
        _Pass(compile_finder(trigger.encode("ascii")), validate, nested)
        for enabled, trigger, validate, nested in passes
        if enabled
    )


@lru_cache(maxsize=64)
def _any_trigger(categories: Categories) -> Pattern:
    """All triggers in one pattern: one pass that tells a text in which there is nothing to judge."""
    triggers = [NAME_TRIGGER, tokens.TRIGGER, credentials.TRIGGER, _value_trigger(categories)]
    return _compile("|".join(triggers + [addresses.TRIGGER] * categories.ips))


def _has_values(categories: Categories) -> bool:
    return categories.cards or categories.ids or categories.phones


def _value_trigger(categories: Categories) -> str:
    triggers = (
        (categories.cards, _CARD_TRIGGER),
        (categories.ids, _SSN_TRIGGER),
        (categories.ids, _DOCUMENT_TRIGGER),
        (categories.phones, _PHONE_TRIGGER),
    )
    return "|".join(trigger for enabled, trigger in triggers if enabled) or r"\A\z"


def _compile(trigger: str) -> Pattern:
    return compile_pattern(trigger.encode("ascii"))


def _value_validator(categories: Categories) -> Validator:  # noqa: C901  of what it returns
    number = _number_judge(categories)
    ids, phones = categories.ids, categories.phones

    def validate(view: str, start: int, end: int) -> Found | None:  # noqa: PLR0911, C901  one frame: it is called often
        first = view[start]
        if first.isdecimal():
            if belongs_before(view, start):
                return None
            if first != "0":
                return number(view, start, context=False)
            span = find_phone(view, start, context=False) if phones else None
            return find_ssn(view, start) if span is None and ids else span
        if first in "+(":
            return find_phone(view, start, context=False) if phones else None
        if ids:
            if view[start + 2].isdecimal() and first.isascii():
                return find_iban(view, start)
            if first in "iI":
                return find_iban(view, end - _IBAN_HEAD)
            if first in _PASSPORT_STARTS or not first.isascii():
                span = _passport(view, start, end)
                if span is not None:
                    return span
        found = _number_start(view, start, end)
        if found < 0:
            return None
        return number(view, found, context=_is_phone_word(view, start, found))

    return validate


def _number_judge(categories: Categories) -> Callable[..., Found | None]:
    """Return what finds the card, social security or phone number that begins at a place of a view."""
    cards, ids, phones = categories.cards, categories.ids, categories.phones

    def number(view: str, start: int, *, context: bool) -> Found | None:
        span = None
        if view[start].isdecimal():
            if cards:
                span = find_card(view, start)
            if span is None and ids:
                span = find_ssn(view, start)
        if span is None and phones:
            span = find_phone(view, start, context=context)
        return span

    return number


def _number_start(view: str, start: int, end: int) -> int:
    """Return where the number begins that stands behind the word at ``start``, or -1."""
    digit = _DIGIT.search(view, start, end)
    if digit is None:
        return -1
    number = first = digit.start()
    while number > start and first - number < _NUMBER_OPENINGS and view[number - 1] in "+(":
        number -= 1
    return -1 if number == first and belongs_before(view, number) else number


def _is_phone_word(view: str, start: int, number: int) -> bool:
    """Whether what stands at ``start``, before a number, is a word for a phone; the trigger read those of ASCII."""
    first = view[start]
    return (first.isascii() and first != "?") or _FOREIGN_PHONE_WORD.search(view, max(0, start - 8), number) is not None


def _passport(view: str, start: int, end: int) -> Found | None:
    words = view[max(0, start - 8) : end]
    if words.isascii() and "pas" not in words.lower():
        return None
    word = _PASSPORT_WORD.match(view, start) or _PASSPORT_WORD.search(view, max(0, start - 8), end)
    if word is None:
        return None
    line = _LINE_END.search(view, word.end(), word.end() + _PASSPORT_REACH)
    stop = line.start() if line is not None else min(len(view), word.end() + _PASSPORT_REACH)
    judged = 0
    for count, candidate in enumerate(_DOCUMENT_NUMBER.finditer(view, word.end(), stop)):
        text = candidate[0]
        if len(text) <= _COUNTRY or not text.isalpha():
            span = find_passport(view, candidate.start())
            if span is not None:
                return span
            judged += 1
        if count == _DOCUMENT_WORDS or judged == _DOCUMENT_NUMBERS:
            return None
    return None
