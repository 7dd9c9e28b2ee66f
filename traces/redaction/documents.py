"""Account and document numbers: IBANs by their check digits, passports by the word before them."""

from __future__ import annotations

import re

from traces.redaction.spans import Found, Label

_IBAN, _PASSPORT_LABEL = Label.IBAN, Label.PASSPORT

# Length by country: the IBAN registry of SWIFT (ISO 13616).
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        pair.split(":")
        for pair in [
            "15:NO",
            "16:BE",
            "18:DK FO FI GL NL SD",
            "19:MK SI",
            "20:AT BA EE KZ LT LU MN XK",
            "21:CH HR LI LV",
            "22:BG BH CR DE GB GE IE ME RS VA",
            "23:AE GI IL IQ OM SO TL",
            "24:AD CZ DZ ES MD PK RO SA SE SK TN VG",
            "25:LY PT ST",
            "26:IS TR",
            "27:BI CM CF CG FR GA GR GQ IT KM MC MG ML MR MZ SM SN TD TG BF BJ CI",
            "28:AL AZ BY CY DO GT HN HU LB NI PL SV",
            "29:BR EG PS QA UA",
            "30:JO KW MU YE",
            "31:MT SC",
            "33:RU",
            "32:LC",
            "29:DJ",
            "18:FK",
            "20:HN",
        ]
    )
    for country in countries.split()
}
_IBAN_LENGTHS |= {"BF": 28, "BJ": 28, "CI": 28, "CM": 27, "SN": 28, "ML": 28, "MZ": 25, "AO": 25, "CV": 25, "GW": 25}
_IBAN_LENGTHS |= {"NE": 28, "TG": 28, "MA": 28, "IR": 26, "HN": 28, "DJ": 27, "NI": 28, "BI": 27}
_ALPHANUMERIC = "[A-Za-z0-9]"
_IBANS = {  # without spaces first: to match character by character takes many times as long
    country: re.compile(
        rf"[A-Za-z]{{2}}[0-9]{{2}}(?:{_ALPHANUMERIC}{{{length - 4}}}|(?:[ -]?{_ALPHANUMERIC}){{{length - 4}}})"
        rf"(?!{_ALPHANUMERIC})"
    )
    for country, length in _IBAN_LENGTHS.items()
}
_IBAN_MODULUS = 97
_IBAN_DIGITS = {character: str(value) for value, character in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}

# Letters and digits as in ICAO 9303 part 4 (up to 9) and national forms; Russia writes 45 08 123456.
_PASSPORT = re.compile(r"(?:[A-Za-z0-9]{6,12}|\d\d ?\d\d ?(?:№ ?)?\d{6}|[A-Z]{1,2} \d{6,8})(?![A-Za-z0-9])")
# Of these letters only, which spell no word; some have hardly a digit.
_GERMAN = re.compile(r"(?=[A-Z]{0,8}\d)[CFGHJK][CFGHJKLMNPRTVWXYZ0-9]{8}(?![A-Za-z0-9])")
_THREE_DIGITS = re.compile(r"(?:\D*\d){3}")


def find_iban(view: str, position: int) -> Found | None:
    """Return the IBAN that begins at ``position``: its country's length, and ISO 7064 mod 97-10."""
    pattern = _IBANS.get(view[position : position + 2].upper())
    match = pattern.match(view, position) if pattern else None
    if match is None or (position and view[position - 1].isascii() and view[position - 1].isalnum()):
        return None
    iban = match[0].upper()
    if "-" in iban:
        if iban != match[0]:  # the beginning of a UUID, say
            return None
        iban = iban.replace("-", "")
    iban = iban.replace(" ", "")
    account = iban[4:]
    if not account.isdecimal():
        account = "".join(map(_IBAN_DIGITS.__getitem__, account))
    number = account + _IBAN_DIGITS[iban[0]] + _IBAN_DIGITS[iban[1]] + iban[2:4]
    return (position, match.end(), _IBAN) if int(number) % _IBAN_MODULUS == 1 else None


def find_passport(view: str, position: int) -> Found | None:
    """Return the document number that begins at ``position``, behind a word for passport."""
    match = _PASSPORT.match(view, position)
    if match is None or not _THREE_DIGITS.match(match[0]):
        match = _GERMAN.match(view, position)
    if match is None:
        return None
    text = match[0]
    mixed_case = text != text.upper() and text != text.lower()
    return None if mixed_case else (position, match.end(), _PASSPORT_LABEL)
