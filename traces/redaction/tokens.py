"""Secrets that show by their own form: keys and tokens of vendors, JWTs, private keys, webhook addresses.

The prefixes are those that the vendors document; a length keeps words of prose such as ``sk-learn`` apart.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from functools import lru_cache

from traces.redaction.spans import Found, Label

_W = r"[A-Za-z0-9_-]"
_A = r"[A-Za-z0-9]"
_X = r"[0-9a-fA-F]"

# (label, prefix for the trigger, rest for the validator). The trigger adds what the rest must begin with.
_FORMS: tuple[tuple[Label, str, str], ...] = (
    (Label.OPENAI_KEY, r"sk-(?:proj|svcacct|admin|service|None)-", rf"{_W}{{20,}}"),
    # Not the old keys' fixed middle: endpoints that speak OpenAI's language hand out keys of this form without it.
    (Label.OPENAI_KEY, r"sk-(?:test-|live-)?", rf"{_A}{{20,}}"),
    (Label.OPENAI_KEY, r"sess-", rf"{_A}{{40}}"),
    (Label.VENDOR_TOKEN, r"sk-(?:ant|or|lf|cp|litellm|kimi)-", rf"{_W}{{16,}}"),
    (Label.GITHUB_TOKEN, r"gh[opusr]_", rf"{_A}{{30,}}"),
    (Label.GITHUB_TOKEN, r"github_pat_", r"\w{22,}"),
    (Label.SLACK_TOKEN, r"xox[a-z]-", r"[A-Za-z0-9-]{10,}"),
    (Label.SLACK_TOKEN, r"xoxe\.xox[bp]-", r"[A-Za-z0-9-]{20,}"),
    (Label.SLACK_TOKEN, r"xapp-", r"\d-[A-Z0-9]{6,}-\d{6,}-[a-z0-9]{16,}"),
    (Label.SLACK_TOKEN, r"https://hooks\.slack\.com/(?:services|workflows|triggers)/", r"[\w/+-]{20,}"),
    (Label.AWS_KEY, r"A(?:KIA|SIA|BIA|CCA)", r"[A-Z0-9]{16}"),
    (Label.AWS_KEY, r"A3T[A-Z0-9]", r"[A-Z0-9]{16}"),
    (Label.AWS_KEY, r"ABSK", r"[A-Za-z0-9+/]{100,}={0,2}"),
    (Label.VENDOR_TOKEN, r"AIza", rf"{_W}{{30,}}"),
    (Label.VENDOR_TOKEN, r"GOCSPX-", rf"{_W}{{20,}}"),
    (Label.VENDOR_TOKEN, r"ya29\.", r"[A-Za-z0-9_.-]{20,}"),
    (Label.VENDOR_TOKEN, r"1//0", rf"{_W}{{40,}}"),
    (Label.VENDOR_TOKEN, r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|oas|wt)-", r"[A-Za-z0-9_.-]{16,}"),
    (Label.VENDOR_TOKEN, r"GR1348941", rf"{_W}{{20}}"),
    (Label.VENDOR_TOKEN, r"[rs]k_(?:live|test|prod)_", rf"{_A}{{10,}}"),
    (Label.VENDOR_TOKEN, r"whsec_", r"[A-Za-z0-9+/]{24,}={0,2}"),
    (Label.VENDOR_TOKEN, r"shp(?:at|ca|pa|ss|ua|tka)_", rf"{_X}{{32}}"),
    (Label.VENDOR_TOKEN, r"do[oprt]_v1_", rf"{_X}{{64}}"),
    (Label.VENDOR_TOKEN, r"npm_", rf"{_A}{{30,}}"),
    (Label.VENDOR_TOKEN, r"pypi-", rf"{_W}{{40,}}"),
    (Label.VENDOR_TOKEN, r"hf_", rf"{_A}{{30,}}"),
    (Label.VENDOR_TOKEN, r"api_org_", rf"{_A}{{30,}}"),
    (Label.VENDOR_TOKEN, r"gsk_", rf"{_A}{{40,}}"),
    (Label.VENDOR_TOKEN, r"SG\.", rf"{_W}{{16,32}}\.{_W}{{16,64}}"),
    (Label.VENDOR_TOKEN, r"(?:AC|SK)", r"[0-9a-f]{32}"),
    (Label.VENDOR_TOKEN, r"key-", r"[0-9a-f]{32}"),
    (Label.VENDOR_TOKEN, r"xkeysib-", r"[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    (Label.VENDOR_TOKEN, r"https://discord(?:app)?\.com/api/webhooks/", r"\d{10,}/[\w-]{30,}"),
    (Label.VENDOR_TOKEN, r"dapi", r"[0-9a-f]{32}(?:-\d)?"),
    (Label.VENDOR_TOKEN, r"sl\.(?:u\.)?", rf"{_W}{{100,}}"),
    (Label.VENDOR_TOKEN, r"lin_(?:api|oauth)_", rf"{_A}{{32,}}"),
    (Label.VENDOR_TOKEN, r"secret_", rf"{_A}{{43}}"),
    (Label.VENDOR_TOKEN, r"ntn_", rf"{_A}{{40,}}"),
    (Label.VENDOR_TOKEN, r"fig[do]_", rf"{_W}{{36,}}"),
    (Label.VENDOR_TOKEN, r"PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    (Label.VENDOR_TOKEN, r"NR(?:AK|JS|II|AA|IQ)-", rf"{_W}{{19,}}"),
    (Label.VENDOR_TOKEN, r"gl(?:sa|c)_", r"[A-Za-z0-9_+/=]{32,}"),
    (Label.VENDOR_TOKEN, r"hv[bsr]\.", rf"{_W}{{20,}}"),
    (Label.VENDOR_TOKEN, r"dp\.(?:pt|st|ct|sa|scim|audit|said)\.", r"[A-Za-z0-9_.-]{40,}"),
    (Label.VENDOR_TOKEN, r"dckr_(?:pat|oat)_", rf"{_W}{{24,}}"),
    (Label.VENDOR_TOKEN, r"rubygems_", rf"{_X}{{48}}"),
    (Label.VENDOR_TOKEN, r"cio", rf"{_A}{{32}}"),
    (Label.VENDOR_TOKEN, r"v1\.0-", r"[0-9a-f]{24}-[0-9a-f]{146}"),
    (Label.VENDOR_TOKEN, r"r8_", rf"{_A}{{37}}"),
    (Label.VENDOR_TOKEN, r"pplx-", rf"{_A}{{40,}}"),
    (Label.VENDOR_TOKEN, r"xai-", rf"{_A}{{60,}}"),
    (Label.VENDOR_TOKEN, r"csk-", r"[a-z0-9]{40,}"),
    (Label.VENDOR_TOKEN, r"fw_", rf"{_A}{{22,}}"),
    (Label.VENDOR_TOKEN, r"tvly-", rf"{_W}{{20,}}"),
    (Label.VENDOR_TOKEN, r"tgp_v1_", rf"{_W}{{40,}}"),
    (Label.VENDOR_TOKEN, r"nvapi-", rf"{_W}{{50,}}"),
    (Label.VENDOR_TOKEN, r"lsv2_(?:pt|sk)_", rf"{_X}{{32}}_{_X}{{10}}"),
    (Label.VENDOR_TOKEN, r"pcsk_", r"\w{40,}"),
    (Label.VENDOR_TOKEN, r"sk_", r"[0-9a-f]{48}"),
    (Label.VENDOR_TOKEN, r"sb(?:p|_secret)_", rf"{_W}{{20,}}"),
    (Label.VENDOR_TOKEN, r"vc[aikpr]_", rf"{_A}{{24,}}"),
    (Label.VENDOR_TOKEN, r"nf[pcouk]_", rf"{_A}{{36,}}"),
    (Label.VENDOR_TOKEN, r"pscale_(?:tkn|pw|oauth)_", r"[A-Za-z0-9_.=-]{32,}"),
    (Label.VENDOR_TOKEN, r"sntry[su]_", r"[A-Za-z0-9_+/=-]{40,}"),
    (Label.VENDOR_TOKEN, r"sq0(?:atp|csp|idp)-", rf"{_W}{{22,}}"),
    (Label.VENDOR_TOKEN, r"EAAA", rf"{_W}{{60}}"),
    (Label.VENDOR_TOKEN, r"EAA", rf"{_A}{{80,}}"),
    (Label.VENDOR_TOKEN, r"access_token\$(?:production|sandbox)\$", r"[0-9a-z]{16}\$[0-9a-f]{32}"),
    (Label.VENDOR_TOKEN, r"access-(?:sandbox|development|production)-", rf"{_X}{{8}}(?:-{_X}{{4}}){{3}}-{_X}{{12}}"),
    (Label.VENDOR_TOKEN, r"AT(?:ATT3|CTT3|BB|OAPX)", r"[A-Za-z0-9_=-]{24,}"),
    (Label.VENDOR_TOKEN, r"pat", r"[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    (Label.VENDOR_TOKEN, r"pat\.", r"[A-Za-z0-9_-]{22}\.[0-9a-f]{24}\.[A-Za-z0-9]{20}"),
    (Label.VENDOR_TOKEN, r"CLOJARS_", r"[a-z0-9]{60}"),
    (Label.VENDOR_TOKEN, r"EZ[AT]K", rf"{_A}{{54}}"),
    (Label.VENDOR_TOKEN, r"fo1_", rf"{_W}{{43}}"),
    (Label.VENDOR_TOKEN, r"fm[12][ar]?_", r"[A-Za-z0-9+/]{80,}={0,3}"),
    (Label.VENDOR_TOKEN, r"HRKU-", rf"{_W}{{36,}}"),
    (Label.VENDOR_TOKEN, r"shippo_(?:live|test)_", rf"{_X}{{40}}"),
    (Label.VENDOR_TOKEN, r"tfp_", r"[A-Za-z0-9_.-]{40,}"),
    (Label.VENDOR_TOKEN, r"pnu_", rf"{_A}{{36}}"),
    (Label.VENDOR_TOKEN, r"pul-", rf"{_X}{{40}}"),
    (Label.VENDOR_TOKEN, r"rdme_", r"[a-z0-9]{70}"),
    (Label.VENDOR_TOKEN, r"AGE-SECRET-KEY-1", r"[A-Z0-9]{58}"),
    (Label.VENDOR_TOKEN, r"p8e-", r"[a-z0-9]{32}"),
    (Label.VENDOR_TOKEN, r"LTAI", rf"{_A}{{17,26}}"),
    (Label.VENDOR_TOKEN, r"AKID", rf"{_A}{{32}}"),
    (Label.VENDOR_TOKEN, r"AQVN", rf"{_W}{{35,38}}"),
    (Label.VENDOR_TOKEN, r"duffel_(?:test|live)_", r"[A-Za-z0-9_=-]{40,}"),
    (Label.VENDOR_TOKEN, r"dt0[a-z]\d\d\.", r"[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    (Label.VENDOR_TOKEN, r"fio-u-", r"[A-Za-z0-9_=-]{64}"),
    (Label.VENDOR_TOKEN, r"oy2", r"[a-z0-9]{43}"),
    (Label.VENDOR_TOKEN, r"API-", r"[A-Z0-9]{25,}"),
    (Label.VENDOR_TOKEN, r"sha256~", rf"{_W}{{43}}"),
    (Label.VENDOR_TOKEN, r"ico-", rf"{_A}{{32}}"),
    (Label.VENDOR_TOKEN, r"AKCp", rf"{_A}{{60,}}"),
    (Label.VENDOR_TOKEN, r"cmVmd", rf"{_A}{{59}}"),
    (Label.VENDOR_TOKEN, r"sq[apu]_", rf"{_X}{{40}}"),
    (Label.VENDOR_TOKEN, r"CCI(?:PAT|PRJ)_", rf"{_A}{{20,}}_{_X}{{40}}"),
    (Label.VENDOR_TOKEN, r"bk(?:ua|aj|ct)_", rf"{_A}{{36,}}"),
    (Label.VENDOR_TOKEN, r"CFPAT-", rf"{_W}{{40,}}"),
    (Label.VENDOR_TOKEN, r"rzp_(?:live|test)_", rf"{_A}{{14,}}"),
    (Label.VENDOR_TOKEN, r"FLWSECK(?:_TEST)?-", r"[A-Za-z0-9-]{12,}"),
    (Label.VENDOR_TOKEN, r"dvc_", rf"{_A}{{32,}}"),
    (Label.VENDOR_TOKEN, r"phx_", rf"{_A}{{40,}}"),
    (Label.VENDOR_TOKEN, r"v2\.public\.", rf"{_W}{{60,}}"),
    (Label.VENDOR_TOKEN, r"sgp_", r"(?:[0-9a-zA-Z]+_)?[0-9a-zA-Z]{40,}"),
    (Label.VENDOR_TOKEN, r"mdb_sa_sk_", rf"{_W}{{20,}}"),
    (Label.VENDOR_TOKEN, r"rnd_", rf"{_A}{{32,}}"),
    (Label.VENDOR_TOKEN, r"napi_", r"[a-z0-9]{60,}"),
    (Label.VENDOR_TOKEN, r"re_", r"[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}"),
    (Label.VENDOR_TOKEN, r"secret-(?:live|test)-", r"[A-Za-z0-9_=-]{32,}"),
    (Label.VENDOR_TOKEN, r"sk\.eyJ", r"[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"),
    (Label.VENDOR_TOKEN, r"sdk-", rf"{_X}{{8}}(?:-{_X}{{4}}){{3}}-{_X}{{12}}"),
    (Label.VENDOR_TOKEN, r"oauth:", r"[a-z0-9]{30}"),
    (Label.VENDOR_TOKEN, r"t1\.", r"[A-Za-z0-9_-]{20,}={0,2}\.[A-Za-z0-9_-]{86}={0,2}"),
    (Label.VENDOR_TOKEN, r"xprv", r"[1-9A-HJ-NP-Za-km-z]{100,}"),
    (Label.VENDOR_TOKEN, r"essu_", rf"{_W}{{40,}}"),
    (Label.VENDOR_TOKEN, r"ion_", rf"{_A}{{42}}"),
    (Label.VENDOR_TOKEN, r"sk_", rf"{_A}{{32,}}"),
    (Label.VENDOR_TOKEN, r"[12]/", r"[0-9]{13,19}(?:/[0-9]{13,19})?:[0-9a-f]{32}"),
    (Label.VENDOR_TOKEN, r"A{20}", r"[A-Za-z0-9]{10,60}%(?:2[BbFf]|3[Dd])[A-Za-z0-9%]{20,}"),
    (Label.VENDOR_TOKEN, r"sig=", r"[A-Za-z0-9%/+_-]{40,90}(?:%3[Dd]|=)"),
    (Label.VENDOR_TOKEN, r"X-(?:Amz|Goog)-Signature=", r"[0-9a-f]{64,}"),
    (Label.VENDOR_TOKEN, r"https://[a-z0-9-]{1,40}\.webhook\.office\.com/webhookb2/", r"[\w@/-]{40,}"),
    (Label.VENDOR_TOKEN, r"https://hooks\.zapier\.com/hooks/catch/", r"[0-9]{5,}/[a-z0-9]{5,}"),
    (Label.AWS_SECRET, r"(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz)", r"[A-Za-z0-9+/]{100,}={0,2}"),
    (Label.VENDOR_TOKEN, r"ops_eyJ", r"[A-Za-z0-9+/=]{100,}"),
    (Label.VENDOR_TOKEN, r"A3-", r"[A-Z0-9]{6}-[A-Z0-9]{6,11}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}(?:-[A-Z0-9]{5})?"),
    (Label.JWT, r"ey[IJK]", rf"{_W}{{8,8192}}\.ey{_W}{{4,}}\.{_W}*(?:\.{_W}+){{0,2}}"),
    (Label.JWT, r"ey[IJK]", rf"{_W}{{16,8192}}\.{_W}{{0,8192}}\.{_W}{{8,}}(?:\.{_W}+){{0,2}}"),
)
# Forms whose start is no fixed word; a bounded look back from the part that is.
_TELEGRAM = r"\d{8,10}:AA"
_DISCORD = r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\."
_AZURE = r"[A-Za-z0-9_~.-]{3}[0-9]Q~"
_MAILCHIMP = r"[0-9a-f]{32}-us[0-9]"
_TERRAFORM = r"[A-Za-z0-9]{14}\.atlasv1\."
_FACEBOOK = r"[0-9]{15,16}\|"
# Of these the trigger is the middle: to look for their beginnings slows the pass twentyfold. Characters before it, by
# how it begins.
_BEFORE_MIDDLE = {**{f"{digit}Q": 3 for digit in range(10)}, "-u": 32, ".a": 14}
_PEM_BEGIN = r"-----BEGIN (?:[A-Z0-9 ]{1,30} )?PRIVATE KEY(?: BLOCK)?-----"

# Short prefixes start half the words of a text, so their trigger also asks for a word boundary.
_LONG_PREFIX = 5

_TAIL = re.compile(r"(\[[^]]*\])\{(\d+),?\d*\}")
_TAIL_LENGTH = 10


def _trigger(prefix: str, rest: str) -> str:
    """Return the prefix of a form and the first characters of its rest: enough to be rare, short enough to be cheap."""
    boundary = r"\b" if len(prefix) < _LONG_PREFIX else ""
    tail = _TAIL.match(rest)
    if tail is None:
        return rf"{boundary}{prefix}[\w.$/+~-]{{6}}"
    return rf"{boundary}{prefix}{tail[1]}{{{min(_TAIL_LENGTH, int(tail[2]))}}}"


TRIGGER = "|".join(
    [
        *sorted({_trigger(prefix, rest) for _, prefix, rest in _FORMS}),
        rf"\b{_TELEGRAM}[A-Za-z0-9_-]{{8}}",
        rf"\b{_DISCORD}[A-Za-z0-9_-]{{8}}",
        r"[0-9]Q~[\w~.-]{8}",
        r"-us[0-9]",
        r"\.atlasv1\.[\w=-]{8}",
        rf"\b{_FACEBOOK}[A-Za-z0-9_-]{{8}}",
        r"-----BEGIN [A-Z0-9 ]{0,31}PRIVATE KEY",
        r"PuTTY-User-Key-File-",
    ],
)

_PEM_HEADER = re.compile(_PEM_BEGIN)
_PEM_END = re.compile(r"-----END (?:[A-Z0-9 ]{1,30} )?PRIVATE KEY(?: BLOCK)?-----")
# Its lines may be texts of their own, with a NUL between them.
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=\s:,. \x1a\\-]*(?:\0\n[A-Za-z0-9+/=]{16,}(?:\n|\Z))*")
_TEXTS_APART = "\n\0\n"  # what stands between two texts that are read together, such as the lines of a key in a list
_KEY_LINES = re.compile(r"[A-Za-z0-9+/=\s:,. \x1a\\\0-]*")
_PUTTY_END = re.compile(r"Private-MAC: *[0-9a-f]+")
_KEY_REACH = (
    16 << 10
)  # characters in which a private key must end; one that does not is taken as far as it looks like one
_SHORTEST_PREFIX = 2
_HEAD = 72  # characters of a token in which a digit or capital tells it from words of prose
_RUN = re.compile(r"[A-Za-z0-9_-]+")
_RUN_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
_UNLIKE_PROSE = re.compile(r"[A-Z0-9]")


_Rule = tuple[Label, Callable[[str, int], re.Match[str] | None]]
# What a form can begin with: a group of alternatives, a class, an escape or a character; and how often it may come.
_ITEM = re.compile(r"(\(\?:(?:[^()]|\(\?:[^()]*\))*\)|\[[^]]*\]|\\.|.)(\?|\{\d+,?\d*\}|[*+])?")
_CHARACTERS = "".join(map(chr, range(33, 127)))


def _by_first_characters() -> dict[str, tuple[_Rule, ...]]:
    """Return the forms by the two characters that they can begin with, so that few are tried at a place."""
    table: dict[str, list[_Rule]] = {}
    forms = [
        *((label, prefix + rest) for label, prefix, rest in _FORMS),
        (Label.VENDOR_TOKEN, _TELEGRAM + r"[A-Za-z0-9_-]{30,36}"),
        (Label.VENDOR_TOKEN, _DISCORD + r"[A-Za-z0-9_-]{27,}"),
        (Label.VENDOR_TOKEN, _AZURE + r"[A-Za-z0-9_~.-]{31,34}"),
        (Label.VENDOR_TOKEN, _MAILCHIMP + r"[0-9]?"),
        (Label.VENDOR_TOKEN, _TERRAFORM + r"[A-Za-z0-9_=-]{60,}"),
        (Label.VENDOR_TOKEN, _FACEBOOK + r"[A-Za-z0-9_-]{27}"),
    ]
    for label, pattern in forms:
        rule = (label, re.compile(pattern).match)
        for head in sorted({first + second for first, second in _heads(pattern)}):
            table.setdefault(head, []).append(rule)
    return {head: tuple(rules) for head, rules in table.items()}


def _heads(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of characters with which a match of ``pattern`` can begin."""
    for first, rest in _beginnings(pattern):
        for second, _ in _beginnings(rest):
            yield first, second


@lru_cache(maxsize=1024)
def _beginnings(pattern: str) -> tuple[tuple[str, str], ...]:
    """Return each character with which a match can begin, and the pattern of what follows it."""
    item = _ITEM.match(pattern)
    if item is None:
        return ()
    text, times = item.groups()
    rest = pattern[item.end() :]
    found: list[tuple[str, str]] = list(_beginnings(rest)) if times == "?" else []
    if text.startswith("(?:"):
        for option in text[3:-1].split("|"):
            found += _beginnings(option + rest)
        return tuple(found)
    if times not in (None, "?"):
        rest = text + rest  # which may begin with the same once more: all such items are asked for twice at least
    return (*found, *((character, rest) for character in re.findall(text, _CHARACTERS)))


_TABLE = _by_first_characters()


def find_token(view: str, position: int, _end: int) -> Found | None:
    """Return the longest vendor token, JWT or private key that begins at ``position``."""
    head = view[position : position + 2]
    if head == "--":
        return _private_key(view, position)
    if head in _BEFORE_MIDDLE:
        position -= _BEFORE_MIDDLE[head]
        if position < 0:
            return None
        head = view[position : position + 2]
    before = view[position - 1] if position else " "
    if before.isascii() and (before.isalnum() or (before in "_-" and head[0] == "e")):
        return None
    if head == "Pu" and view.startswith("PuTTY", position):
        return _putty_key(view, position)
    best: Label | None = None
    end = position
    for label, form in _TABLE.get(head, ()):
        match = form(view, position)
        if match is not None and match.end() > end:
            best, end = label, match.end()
    if best is None or _UNLIKE_PROSE.search(view, position + _SHORTEST_PREFIX, position + _HEAD) is None:
        return None
    # Letters that follow without a break go too: two tokens run together, or one longer than its form.
    run = _RUN.match(view, end) if view[end : end + 1] in _RUN_CHARACTERS else None
    return (position, end if run is None else run.end(), best)


def _private_key(view: str, position: int) -> Found | None:
    header = _PEM_HEADER.match(view, position)
    if header is None:
        return None
    footer = view.find("-----END ", header.end(), position + _KEY_REACH)
    if (
        footer >= 0
        and view.find(_TEXTS_APART, header.end(), footer) >= 0
        and not _KEY_LINES.fullmatch(view, header.end(), footer)
    ):
        footer = -1  # the end of another key, in another text
    end = _PEM_END.match(view, footer) if footer >= 0 else None
    body = end or _PEM_BODY.match(view, header.end())
    return (position, body.end() if body else header.end(), Label.PRIVATE_KEY)


def _putty_key(view: str, position: int) -> Found | None:
    footer = view.find("Private-MAC:", position, position + _KEY_REACH)
    end = _PUTTY_END.match(view, footer) if footer >= 0 else None
    stop = view.find("\0", position)
    return (position, end.end() if end else stop if stop >= 0 else len(view), Label.PRIVATE_KEY)
