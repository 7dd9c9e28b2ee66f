"""Numbers that identify: payment cards, phone numbers, US social security numbers."""

# ruff: noqa: E501  patterns are kept whole, and hold look-alike characters on purpose

from __future__ import annotations

import re
from functools import lru_cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from traces.redaction.spans import Found, Label

_CARD_LABEL, _PHONE, _SSN_LABEL = Label.CREDIT_CARD, Label.PHONE, Label.US_SSN

# The usual spellings first: to match digit by digit takes many times as long.
_CARD = re.compile(r"(?:\d{13,19}|\d{4}(?:[ -]\d{4}){3})(?![ -]?\d)|\d(?:[ -]?\d){12,18}(?!\d)")
_CARD_GROUPS = frozenset(
    {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (6, 13), (4, 4, 5), (8, 8)}
)


def _issuers() -> dict[str, frozenset[int]]:
    """Lengths of a card's number by its first four digits."""
    table: dict[str, set[int]] = {}
    for lengths, ranges in (
        ((13, 16, 19), ((4000, 4999),)),  # Visa
        ((16,), ((2221, 2720), (5100, 5599))),  # Mastercard
        ((15,), ((3400, 3499), (3700, 3799))),  # American Express
        ((14, 16, 19), ((3000, 3059), (3095, 3095), (3600, 3699), (3800, 3999))),  # Diners Club
        ((16, 19), ((6011, 6011), (6440, 6599))),  # Discover
        ((16, 17, 18, 19), ((3528, 3589),)),  # JCB
        ((16, 17, 18, 19), ((6200, 6299), (8100, 8199))),  # UnionPay
        ((16, 18, 19), ((5000, 5099), (5600, 5999), (6000, 6999))),  # Maestro and national schemes
        ((16,), ((2200, 2204), (9792, 9792))),  # Mir, Troy
    ):
        for first, last in ranges:
            for prefix in range(first, last + 1):
                table.setdefault(str(prefix), set()).update(lengths)
    return {prefix: frozenset(lengths) for prefix, lengths in table.items()}


_ISSUERS = _issuers()
_DOUBLED = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
_DIGIT_SUM_OFFSET = ord("0")
_PUNCTUATION = b" .-/()+"
_CARD_CONTEXT = re.compile(r"(?i)card|\bpan\b|carte|karte|tarjeta|cart[aã]o|carta\b|kreditn|карт|卡|カード|카드")
_USUAL_CARD_LENGTH = 16  # longer ones exist, but a bare run of 19 digits is more often an identifier

_SSN = re.compile(r"(?!000|666|9)\d{3}([- ]?)(?!00)\d{2}\1(?!0000)\d{4}(?!\d|[-.]\d|[ ]\d)")
_SSN_SEPARATORS = frozenset("- ")
_SSN_CONTEXT = re.compile(
    r"(?i)\bs\.?s\.?n\b|\bss ?#|social.?sec|soc\.? sec|sozialversicherung|s.cu(?:rit.)? soc|tax.?id|\btin\b|itin"
)

_EXTENSION = re.compile(
    r"(?i)(?:,? ?(?:ext(?:ension)?\b\.?|extn\b\.?|x|durchwahl|poste|interno|anexo|ramal|доб\.?|#)[ :.]{0,2}|;ext=)\d{1,6}(?!\d)",
)
_ALL_DIGITS = "0123456789"  # a table of characters, not a number
_OPEN = frozenset(["", *" \n,;\"'()[]{}|\0"])  # the usual neighbours of a number, which belong to no longer one
_EXTENSION_STARTS = frozenset(" ,;xXeE#dD")
_EXTENSION_WORDS = frozenset("eExXdDpPiIaArRдД#;")  # how they begin behind a comma and a space
_INTERNATIONAL = re.compile(r"(?:\+|00[ .-]?)\(?\d(?:[ .\-/()]{0,3}\d){5,16}\)?")
_SEPARATED = re.compile(r"\(?\+?\d(?:[ .\-/()]{0,3}\d){5,16}")
_LAST_GROUP = re.compile(r"[ .\-/()]+\d+\)?$")
_AREA = re.compile(r"\(\+?\d{1,5}\)")
_ROW_SIGNS = frozenset("#/=")  # before a number that is an account's, or in a path
_ROW_GOES_ON = re.compile(r" \d")
_TRUNK = re.compile(r"\(?0[1-9]\d{0,4}\)?(?:[ ./-]{0,2}\d{1,8}){0,5}(?!\d)")
_GROUPED = re.compile(
    r"(?:1[-. ]?)?(?:\([2-9]\d{2}\)[-. ]?|[2-9]\d{2}[-. ])\d{3}[-. ]\d{4}(?!\d|[-.]\d)"  # North America
    r"|[6-9]\d{4}[ -]\d{5}(?! ?\d|-\d)"  # India
    r"|\(\d\d\) ?9?\d{4}-\d{4}(?!\d|-\d)|1[3-9]\d([ -])\d{4}\1\d{4}(?! ?\d|-\d)"  # Brazil, China
)
_DATE = re.compile(
    r"(?:19|20)\d\d([-./ ])(?:0?[1-9]|1[0-2])\1(?:[0-2]?\d|3[01])|(?:[0-2]?\d|3[01])([-./ ])(?:[0-2]?\d|3[01])\2(?:19|20)\d\d"
)
# Groups of national numbers that begin with the trunk prefix 0; the last one is never of five digits after hyphens.
_TRUNK_GROUPS = re.compile(
    r"0[1-9](?:([ .-]?)\d\d)(?:\1\d\d){3}"  # France: 06 12 34 56 78
    r"|\(?0\d{1,4}\)?[ -]?\d{3,4}[ -]\d{3,4}"  # 020 7946 0958, (02) 9374 4000, 022-2489 9922
    r"|\(?0\d{2,4}\)? ?\d{3} \d{2} \d{2}"  # Switzerland, Austria: 044 668 18 00
    r"|\(?0\d{1,4}\)?[ ./-]{1,2}\d{5,8}(?:-\d{1,4})?"  # Germany: 089/3115737, UK: 07786 333335
    r"|0\d{3,4}-\d{3}-\d{3}|0\d{1,4}-\d{2,4}-\d{3,4}"  # UK, Japan: 07741-097-350, 03-1234-5678
    r"|0\d{1,3} \d{2,3} \d{2} \d{2}(?: \d{2})?"  # Belgium, Sweden: 0470 12 34 56
    r"|0\d{1,3}-\d{2,3} \d{2} \d{2}|0\d{3} \d{3} \d{3,4}|0\d{2} \d{3} \d{4}"
    r"|\(0\d{2,4}\) ?\d{3,8}(?:[ -]\d{2,4}){0,3}"  # (030) 687 23 28
    r"|0[1-9]\d{8,9}"  # bare: 0612345678, 09836020573
)
_BARE_LENGTHS = range(7, 16)
_MIN_INTERNATIONAL = 7


def luhn(digits: str) -> bool:
    """Whether the last digit of ``digits`` is its Luhn check digit (ISO/IEC 7812-1, annex B)."""
    single = digits[::-2].encode()
    doubled = digits[-2::-2].encode().translate(_DOUBLED)
    return (sum(single) - _DIGIT_SUM_OFFSET * len(single) + sum(doubled)) % 10 == 0


def find_card(view: str, position: int) -> Found | None:
    """Return the card number that begins at ``position``, if one does; what stands before it is not looked at."""
    lengths = _ISSUERS.get(view[position : position + 4])
    match = _CARD.match(view, position) if lengths is not None else None
    if match is None or lengths is None:
        return None
    text, end = match[0], match.end()
    digits = text
    if not text.isdecimal():
        groups = text.replace("-", " ").split(" ")
        if tuple(map(len, groups)) not in _CARD_GROUPS:
            return None
        digits = "".join(groups)
    if len(digits) not in lengths or not luhn(digits) or _goes_on(view, end):
        return None
    if len(digits) > _USUAL_CARD_LENGTH and not _CARD_CONTEXT.search(view, max(0, position - 32), position):
        return None
    return (position, end, _CARD_LABEL)


def is_number_context(text: str) -> bool:
    """Whether ``text`` speaks of a card or of a social security number, which is then found by less."""
    return _CARD_CONTEXT.search(text) is not None or _SSN_CONTEXT.search(text) is not None


def find_ssn(view: str, position: int) -> Found | None:
    """Return the social security number that begins at ``position``; without dashes it needs a context word."""
    separator = view[position + 3 : position + 4]
    if separator in _SSN_SEPARATORS and view[position + 6 : position + 7] != separator:
        return None
    match = _SSN.match(view, position)
    if match is None or _goes_on(view, match.end()):
        return None
    if separator != "-" and not _SSN_CONTEXT.search(view, max(0, position - 40), position):
        return None
    return (position, match.end(), _SSN_LABEL)


def find_phone(view: str, position: int, *, context: bool) -> Found | None:
    """Return the phone number that begins at ``position``.

    ``context`` says that a word such as "phone" stands before it: then any plausible grouping will do. Without it the
    number must be international with a possible length of its country, or grouped the way its country writes it.
    """
    first = view[position]
    if first == "(" and not _AREA.match(view, position):
        position += 1
        first = view[position]
    end = _international(view, position) if first == "+" or view.startswith("00", position) else None
    if end is None and first != "+":
        end = _national(view, position, context=context)
    if end is None and context:
        end = _in_context(view, position)
    if end is None or belongs_before(view, position) or _goes_on(view, end):
        return None
    if not context and view[end : end + 1] == ":" == view[position - 1 : position]:  # an account in arn:aws:iam::…:role
        return None
    if view[end : end + 1] in _EXTENSION_STARTS and view[end : end + 3].lstrip(", ")[:1] in _EXTENSION_WORDS:
        extension = _EXTENSION.match(view, end)
        end = end if extension is None else extension.end()
    return (position, end, _PHONE)


def belongs_before(view: str, start: int) -> bool:
    """Whether a number goes on to the left of ``start``: it is part of an identifier, a decimal, a path."""
    if not start:
        return False
    before = view[start - 1]
    if before in _OPEN:
        return False
    if before.isascii() and (before.isalnum() or before == "_"):
        return True
    if start == 1:
        return False
    earlier = view[start - 2]
    return (before in ".-" and earlier.isalnum()) or (before == "/" and earlier.isdigit())


def _goes_on(view: str, end: int) -> bool:
    """Whether a number goes on behind ``end``: it is part of an identifier, a decimal, a path, a version."""
    after = view[end : end + 1]
    if after in _OPEN:
        return False
    if after.isascii() and (after.isalpha() or after in "_@"):
        return not _EXTENSION.match(view, end)
    following = view[end + 1 : end + 2]
    return (after in ".:/-" and following.isdecimal()) or (after == "-" and following.isalpha())


def _digits(text: str) -> str:
    """Return ``text``, a number, without its punctuation."""
    return text.encode("ascii", "ignore").translate(None, _PUNCTUATION).decode()


def _international(view: str, position: int) -> int | None:
    match = _INTERNATIONAL.match(view, position)
    if match is None:
        return None
    text = match[0]
    if text[-1] == ")" and text.count(")") > text.count("("):
        text = text[:-1]
    while text:
        digits = _digits(text.replace("(0)", "") if "(0)" in text else text)
        digits = digits.removeprefix("00") if text[0] == "0" else digits
        if len(digits) < _MIN_INTERNATIONAL:
            return None
        if _possible(digits):
            return position + len(text)
        # The match may have run on into the next number of the line: drop the last group.
        shorter = _LAST_GROUP.sub("", text)
        if shorter == text:
            return None
        text = shorter
    return None


def _possible(digits: str) -> bool:
    """Whether ``digits``, a country calling code and a national number, has a length of that country's plan."""
    for width in (1, 2, 3):
        lengths = _national_lengths(digits[:width])
        if lengths:
            national = digits[width:]
            return len(national) in lengths or (national.startswith("0") and len(national) - 1 in lengths)
    return False


@lru_cache(maxsize=2048)
def _national_lengths(digits: str) -> frozenset[int]:
    """Return the possible lengths of national numbers of the country calling code ``digits``; none for no such code."""
    lengths: set[int] = set()
    country_code = int(digits)
    for region in COUNTRY_CODE_TO_REGION_CODE.get(country_code, ()):
        metadata = (
            PhoneMetadata.metadata_for_nongeo_region(country_code)
            if region == "001"
            else PhoneMetadata.metadata_for_region(region)
        )
        if metadata is not None and metadata.general_desc is not None:
            lengths.update(metadata.general_desc.possible_length)
    # Germany and Austria have no fixed lengths, and short ones in the metadata are service numbers.
    return frozenset(length for length in lengths if length >= 5)  # noqa: PLR2004


def _national(view: str, position: int, *, context: bool) -> int | None:
    """Return where the number ends that is grouped as its country writes it, if it is."""
    first = view[position]
    if not context and _in_row(view[max(0, position - 2) : position]):
        return None
    if first != "0":
        match = _GROUPED.match(view, position)
        if match is not None:
            return match.end()
        if first != "(":
            return None
    match = _TRUNK.match(view, position)
    if match is None or match[0].startswith(_ALL_DIGITS):
        return None
    return _grouped_end(view, position, match[0], context=context)


def _in_row(before: str) -> bool:
    """Whether the last two characters ``before`` a number are further groups of digits, as in a table, or a path."""
    return not _ROW_SIGNS.isdisjoint(before) or (before[-1:] in " -" and before[:1].isdecimal())


def _grouped_end(view: str, position: int, text: str, *, context: bool) -> int | None:
    """Return where a number with a trunk prefix ends, without what follows ``text``'s last possible group."""
    while text:
        count = len(_digits(text))
        if count < 9:  # noqa: PLR2004
            return None
        if not context and _ROW_GOES_ON.match(view, position + len(text)):
            return None
        if count <= 12 and _TRUNK_GROUPS.fullmatch(text):  # noqa: PLR2004
            return position + len(text)
        shorter = _LAST_GROUP.sub("", text)
        if shorter == text:
            return None
        text = shorter
    return None


def _in_context(view: str, position: int) -> int | None:
    match = _SEPARATED.match(view, position)
    if match is None:
        return None
    text = match[0]
    if not text.isdecimal() and _DATE.match(view, position):
        return None
    while len(_digits(text)) not in _BARE_LENGTHS:
        shorter = _LAST_GROUP.sub("", text)
        if shorter == text or len(shorter) < _MIN_INTERNATIONAL:
            return None
        text = shorter
    return position + len(text)
