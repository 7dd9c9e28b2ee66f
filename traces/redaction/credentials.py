"""Secrets that show by the words before them: ``DB_PASSWORD: …``, ``--token …``, ``Authorization: Bearer …``."""

# ruff: noqa: E501  patterns are kept whole, and hold look-alike characters on purpose

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from traces.redaction.canonical import FILLER
from traces.redaction.keys import KeyKind, kind_of, label_of
from traces.redaction.spans import Found, Label

# One word of a name that can promise a secret, followed by what may stand between the name and its value. Bytes that
# are not ASCII are dots here; the name itself is then read from the text and classified like a field of JSON.
_WORD = (
    r"passw(?:or)?d|passphrase|passcode|pass|pwd|psw|passwort|kennwort|passe|mdp|contrase.a|senha|clave|parola|wachtwoord|has[l?]o"
    r"|l.senord|heslo|[s?]ifre|salasana|adgangskode|jelsz.|secrets?|credentials?|creds|cookies?|(?:api|access|private|secret|account"
    r"|shared|auth|signing|encryption|master|subscription|client|service)[_ -]?keys?|apikey|authorization|bearer|\?{2,8}|pw"
    r"|(?:hmac|aes|rsa|jwt|ssh|deploy|webhook|storage|consumer|license|application|app|session|server|admin|host|bot|cipher|crypto"
    r"|functions?|openai|anthropic|stripe|sendgrid|twilio|groq|mistral|gemini|azure)[_-]?keys?|session[_-]?id|connection[_-]?string"
    r"|(?:api|access|auth|refresh|session|secret|bearer)[ _-]?tokens?"
)
# Where the value stands in a field of its own: - name: DB_PASSWORD, then value: …; <add key="ApiKey" value="…">.
_VALUE_FIELD = r"[\"'\x1a]{0,4}(?:,|[ \t]*\n[\n-]{0,2})?[ \t]{0,16}[\"'\x1a]{0,4}value[\"'\x1a]{0,4} ?[:=]"
_NAME = rf"[\w.-]*(?:{_WORD})[\w-]*"
_NAME_OR_TOKEN = rf"[\w.-]*(?:{_WORD}|token)[\w-]*"
TRIGGER = (
    # Not tokens, of which every trace has many.
    r"[\w.-]*(?:[Tt]oken|TOKEN|tok)(?:[A-Z0-9_-][\w-]*)?[\"'`\])]{0,2}[ \t\x1a]{0,16}(?::=|=>|[:=])|"
    rf"(?i:{_NAME}(?:[\"'`\])*]{{0,2}}[ \t\x1a]{{0,16}}(?::=|=>|->|[:=])|"
    rf"[ \t]{{1,2}}(?:is|was|to|ist|est|es|lautet|[.?-])[ :]))"
    rf"|(?i:{_NAME}{_VALUE_FIELD})"
    rf"|(?i:<(?:[\w.-]+:)?{_NAME_OR_TOKEN}>)"
    rf"|(?i:\|[ \t]{{1,4}}(?:[\w.-]{{1,20}} ){{0,2}}{_NAME_OR_TOKEN}[ \t]{{1,16}}\|)"
    rf"|(?i:\benv[ \t]{{1,4}}{_NAME_OR_TOKEN}[ \t])"
    rf"|(?i:\([\"']{_NAME_OR_TOKEN}[\"'], ?[\"'])"
    rf"|(?i:{_NAME}[ (]{{1,2}}[\"'`])"
    rf"|(?i:{_NAME_OR_TOKEN}[\"'\])]{{0,3}} ?(?:\|\||\?\?|or) ?[\"'`])"
    rf"|(?i:\bidentified by ['\"])"
    rf"|(?i:\blogin[ \t]+[^ \t\n\x00]{{1,40}}[ \t]+password[ \t])"
    rf"|(?i:\bmysql\w{{0,6}}\b[^\n\x00|;&]{{0,60}} -p)"
    rf"|(?i:\b(?:login|sshpass)\b[^\n\x00|;&]{{0,60}} -p[ =])"
    rf"|--?[\w-]*(?i:password|passwd|pass|pwd|token|secret|api-?key)[ \t=]"
    rf"|(?i:\b(?:bearer|basic|token|apikey)[ \t]{{1,3}})[\w.~+/-]{{8}}"
    rf"|(?:-u|--user)[ =][\"']?[\w.-]{{1,32}}:"
)

# What else than a colon may stand between a name and its value, by the group that it matches.
_LINK = re.compile(
    rf"(?i)(?P<field>{_VALUE_FIELD}$)|(?P<markup>^<.*>$)|(?P<cell>^\|.*\|$)|(?P<environment>^env[ \t].*[ \t]$)"
    r"|(?P<login>^login[ \t].*password[ \t]$|^(?:login|sshpass)\b.* -p[ =]$|^mysql.* -p$|^identified by .$)"
    r"|(?P<quoted>(?:[\"'], ?|[ (]{1,2}|[\"'\])]{0,3} ?(?:\|\||\?\?|or) ?)[\"'`]$)"
)
_NAME_REVERSED = re.compile(r"[\w.\x1a-]+")
_LONGEST_NAME = 80
_SEPARATORS = " \t\x1a\"'`]):=>*"
_OPENING = re.compile(r"(?:\*\*)?[ \t\x1a]{0,16}(?:[rbfu]{0,2}([\"'`]{1,3})\x1a{0,16})?")
_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|digest|apikey|negotiate|aws4-hmac-sha256)[ \t]+")
_NAME_AHEAD = re.compile(r"[A-Za-z_.-]{1,40}=\w")
_USUAL_OPENINGS = frozenset(" \"'")  # of a value, and not of a name
_OPENING_SIGNS = frozenset(" \t\x1a*rbfu\"'`")
_NOTHING = frozenset(("", "\0", "\n"))
_SCHEME_STARTS = frozenset("bBtTdDaAnN")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{8,4096}={0,2}")
_COPULA = re.compile(r"(?i)[ \t]{1,2}(?:is|was|to|ist|est|es|lautet|[^\sA-Za-z0-9_\"'])[ :]$")
# A value without quotes ends at a space, a quote or a bracket of markup, and at punctuation before the next name or space.
_UNQUOTED = re.compile(
    r"(?:[^\s\"'`<>\x00;&,\\]|[;&](?![\w.-]{1,40}=|\s|$|[\"'])|,(?![\w.-]{1,40}=|\s|$|[\"'])|\\(?![nrt\"])){1,96}",
)
_PLAIN_VALUE = re.compile(r"[^\s\"'`<>\x00;&,\\]{1,96}")
_MAY_GO_ON = frozenset(";&,\\")
_JUDGED = 96  # characters of a value that are judged; its rest only belongs to it
_QUOTED_REACH = 512
_MASKED = re.compile(
    r"(?i)[*x•●.\-_#?…]{2,}|\[?[\[(<]?(?:redacted|hidden|masked|filtered|removed|omitted|secret|snip).{0,24}"
)
_PLACEHOLDER = re.compile(
    r"(?i)\$\{.*|\$\(.*|\{\{.*|\{[\w.]*\}.*|<.*|%\(?\w*\)?[sd]?|%.*%|\$[a-z_]\w*|\[[^\]]*\]|\(.*"
    r"|(?:os|process|env|sys|self|cls|this|config|settings|request|req|args|kwargs|params|options|opts|secrets|vault|data|ctx|context"
    r"|import\.meta|import)\b[.\[(].*|(?:your|my|the|some|an?|new|old)[-_ ].*|(?:null|none|nil|true|false|undefined|yes|no|required|optional"
    r"|string|str|int|bool|bytes|any|object|empty|blank|unknown|invalid|missing|n/?a|tbd|example|changeme|change_me|placeholder)\b.*",
)
# What a whole value must be to be left under a secret's name: narrower, because the name is proof enough.
_REFERENCE = re.compile(
    r"\$\{[^}]*\}|\{\{[^}]*\}\}|<[\w -]*>|\$[A-Z_]+|%[A-Z_]+%|\[[A-Z_]+\]|(?i:null|none|true|false|undefined)"
)
_CODE = re.compile(
    r"[A-Za-z_][\w.]*\(.*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Za-z_][\w.]*\[[\w\"'.]+\].*|[A-Z][A-Z_]{3,}"
    r"|[A-Za-z_][\w$.]*\[(?:[-\d:]*\].*)?|(?:[A-Z]+[a-z]{2,}){2,}"
)
# The same in lower case, and what they can begin with: without regard to case, an alternation tries every branch.
_MASKED_LOWER = re.compile(_MASKED.pattern.removeprefix("(?i)"))
_PLACEHOLDER_LOWER = re.compile(_PLACEHOLDER.pattern.removeprefix("(?i)"))
_MASKED_STARTS = frozenset("*x.-_#?[(<rhmfos")
_PLACEHOLDER_STARTS = frozenset("${<%[(ospetcraokvdiymnfuib")
_DIGIT = re.compile(r"\d")
_LETTER = re.compile(r"[^\W\d_]")
_SYMBOL = re.compile(r"[^\w./-]")
_IRREGULAR = re.compile(r"[a-z][A-Z]")
_PASSWORD_WORD = re.compile(
    r"(?i)pass|pwd|psw|kennwort|mdp|contrase|senha|clave|parola|wachtwoord|has.o|senord|heslo|parol|密|パスワード|пароль|비밀"
)
_PASSWORD_NOUN = re.compile(
    r"(?i)passw|passphrase|passcode|passe\b|" + _PASSWORD_WORD.pattern.removeprefix("(?i)pass|")
)
_SHORTEST = 4
_SHORTEST_UNQUOTED = 6
_SHORTEST_TOKEN = 8
_LONG = 16


class _Promise(NamedTuple):
    """What a match of the trigger says about the value behind it, wherever the match stands."""

    form: str  # "sign", "copula", "flag", "user", "scheme" or a group of _LINK: how the value is tied to its name
    name_end: int  # where in the match its name ends
    secret: bool  # whether the name is one of a secret
    password: bool  # whether that is a password, which people choose, and not a token, which machines do
    label: Label


def find_credential(view: str, position: int, end: int) -> Found | None:
    """Return the value of the name whose trigger matched ``view[position:end]``, if it can be a secret."""
    following = view[end : end + 1]
    if following in _NOTHING or (following not in _USUAL_OPENINGS and _NAME_AHEAD.match(view, end)):
        return None
    matched = view[position:end]
    # Names come again and again; a long match may hold more than a name, and is not remembered.
    promise = _promise(matched) if end - position <= _LONGEST_NAME else _promise.__wrapped__(matched)
    form = promise.form
    if form in {"sign", "copula"}:
        return _named(view, position, end, promise)
    if form == "scheme":
        return _bearer(view, position)
    if form == "user":
        return _user_and_password(view, end)
    return _linked(view, end, matched, promise) if promise.secret else None


def _named(view: str, position: int, end: int, promise: _Promise) -> Found | None:
    # Whether a whole text is of ASCII, Python knows without looking.
    if not (view.isascii() or (view[position].isascii() and (not position or view[position - 1].isascii()))):
        promise = _foreign_promise(view, position, promise)
    if not promise.secret:
        return None
    if promise.form == "copula":
        return _behind_copula(view, end, view[position:end], promise)
    in_url = position > 2 and view[position - 1] == "/" and view.startswith("://", position - 3)  # noqa: PLR2004
    return None if in_url else _value(view, end, promise, member=view[position + promise.name_end] in "\"'")


@lru_cache(maxsize=4096)
def _promise(matched: str) -> _Promise:
    if matched[0] == "-":
        user = matched.startswith(("-u ", "-u=", "--user ", "--user="))
        return _promised("user" if user else "flag", 0, matched.strip("- =\t"), secret=True)
    link = _LINK.search(matched) if _may_link(matched) else None
    if link is not None:
        return _linked_promise(matched, link)
    name = matched.rstrip(_SEPARATORS)
    copula = _COPULA.search(matched)
    if copula is None and len(name) < len(matched) and matched[-1] in ":=>":
        name_end = len(name)
        name = _name(matched, 0, name_end)
        return _promised("sign", name_end, name, secret=kind_of(name) is KeyKind.SECRET)
    if copula is None or _SCHEME.match(matched):
        return _promised("scheme", 0, "", secret=False)
    name = _name(matched, 0, copula.start())
    return _promised("copula", copula.start(), matched, secret=kind_of(name) is KeyKind.SECRET)


def _promised(form: str, name_end: int, name: str, *, secret: bool) -> _Promise:
    return _Promise(form, name_end, secret, is_password_name(name), label_of(name))


def _foreign_promise(view: str, position: int, promise: _Promise) -> _Promise:
    """Read again a name with characters that are not ASCII, of which the trigger saw a part only."""
    name = _name(view, position, position + promise.name_end)
    secret = kind_of(name) is KeyKind.SECRET
    if promise.form == "copula":
        return promise._replace(secret=secret)
    return _promised(promise.form, promise.name_end, name, secret=secret)


def _may_link(matched: str) -> bool:
    return (
        matched[0] in "<|("
        or matched[-1] in "\"'` \t"
        or matched.endswith(("p=", " -p"))
        or "alue" in matched
        or "ALUE" in matched
    )


def _linked_promise(matched: str, link: re.Match[str]) -> _Promise:
    """Read a name that is followed by no colon, but stands in markup, a table, a call, a command."""
    form = link.lastgroup or ""
    if form == "login":
        return _promised(form, 0, "password", secret=True)
    before = form in {"quoted", "field"}
    name = matched[: link.start()] if before else matched.strip("<>| \t").split()[-1]
    secret = kind_of(name.strip("(\"' ").rpartition(":")[2]) is KeyKind.SECRET
    return _promised(form, link.start(), name, secret=secret)


def _linked(view: str, end: int, matched: str, promise: _Promise) -> Found | None:
    form = promise.form
    if matched.endswith(" -p") and view[end] == " ":  # what follows is another argument
        return None
    opened = form == "quoted" or (form == "login" and matched[-1] in "'\"")  # by a quote that the trigger took
    span = _value(view, end - opened, promise)
    if span is not None and form in {"quoted", "cell"} and _DIGIT.search(view, span[0], span[1]) is None:
        return None
    return span


def _behind_copula(view: str, end: int, matched: str, promise: _Promise) -> Found | None:
    span = _value(view, _past_colon(view, end), promise)
    certain = span is not None and (span[1] - span[0] >= _LONG or _PASSWORD_NOUN.search(matched))
    return span if certain else None


@lru_cache(maxsize=4096)
def is_password_name(name: str) -> bool:
    """Whether a name speaks of a password, which people choose, and not of a token, which machines do."""
    return _PASSWORD_WORD.search(name) is not None


def _past_colon(view: str, position: int) -> int:
    while position < len(view) and view[position] in " :":
        position += 1
    return position


def _name(view: str, start: int, end: int) -> str:
    """Return the name that ends at ``end``; the trigger saw its ASCII part only, from ``start``."""
    if (start and not view[start - 1].isascii()) or not view[start].isascii():
        match = _NAME_REVERSED.match(view[max(0, end - _LONGEST_NAME) : end][::-1])
        return "" if match is None else match[0][::-1].replace(FILLER, "")
    return view[max(start, end - _LONGEST_NAME) : end].replace(FILLER, "").strip(".-")


def _user_and_password(view: str, start: int) -> Found | None:
    match = _UNQUOTED.match(view, start)
    if match is None or _refused(match[0]):
        return None
    return (start, match.end(), Label.GENERIC_SECRET)


def _bearer(view: str, position: int) -> Found | None:
    scheme = _SCHEME.match(view, position)
    if scheme is None:
        return None
    start = scheme.end()
    match = _BEARER.match(view, start)
    if match is None or _refused(match[0]) or not any(character.isdigit() for character in match[0]):
        return None
    return (start, match.end(), Label.GENERIC_SECRET)


def _value(view: str, position: int, promise: _Promise, *, member: bool = False) -> Found | None:
    start, quote = position, None
    if view[start : start + 1] == " ":
        start += 1
    first = view[start : start + 1]
    if first in _OPENING_SIGNS:  # of any but the usual opening, a space or none
        opening = _OPENING.match(view, position)
        if opening is None:
            return None
        start, quote = opening.end(), opening[1]
        first = view[start : start + 1]
    if first in _SCHEME_STARTS:
        scheme = _SCHEME.match(view, start)
        start = start if scheme is None else scheme.end()
    password = promise.password
    if quote:
        end = _closing(view, start, quote)
        text = view[start:end]
        accepted = _accepts_quoted(text, password=password) or (member and password and _is_phrase(text))
    else:
        end = _unquoted_end(view, start)
        accepted = _accepts_unquoted(view[start:end], password=password)
    if not accepted:
        return None
    return (start, _rest(view, end) if end - start == _JUDGED else end, promise.label)


def _rest(view: str, end: int) -> int:
    """Where a value of which only the first characters were judged really ends."""
    while (match := _UNQUOTED.match(view, end)) is not None:
        end = match.end()
    return end


def _closing(view: str, start: int, quote: str) -> int:
    end = view.find(quote, start, start + _QUOTED_REACH)
    while end >= 0 and view[end + 1 : end + 2] == FILLER != view[start - 1]:  # an escaped quote inside
        end = view.find(quote, end + 1, start + _QUOTED_REACH)
    newline = view.find("\n", start, end if end >= 0 else start + _QUOTED_REACH)
    return end if end >= 0 and newline < 0 else _unquoted_end(view, start)


def _unquoted_end(view: str, start: int) -> int:
    match = _PLAIN_VALUE.match(view, start)
    if match is None or view[match.end() : match.end() + 1] in _MAY_GO_ON:
        match = _UNQUOTED.match(view, start)
    if match is None:
        return start
    end = match.end()
    if view[end - 1].isalnum():
        return end
    # A closing bracket or a full stop belongs to the sentence, not to the secret, unless it was opened inside.
    while end > start and (view[end - 1] in ".,;:\\\x1a" or (view[end - 1] in ")]}" and not _opened(view[start:end]))):
        end -= 1
    return end


def _opened(text: str) -> bool:
    closing = text[-1]
    return text.count("([{"[")]}".index(closing)]) >= text.count(closing)


def is_placeholder(text: str) -> bool:
    """Whether the value of a secret's field is no secret: empty, a mask, a reference to elsewhere, a word like "none"."""
    return not text or bool(_MASKED.fullmatch(text) or _REFERENCE.fullmatch(text))


def _refused(text: str) -> bool:
    if text.isascii():  # the same answer, in a fraction of the time
        text = text.lower()
        return (text[0] in _MASKED_STARTS and _MASKED_LOWER.fullmatch(text) is not None) or (
            text[0] in _PLACEHOLDER_STARTS and _PLACEHOLDER_LOWER.fullmatch(text) is not None
        )
    return bool(_MASKED.fullmatch(text) or _PLACEHOLDER.fullmatch(text))


def _accepts_quoted(text: str, *, password: bool) -> bool:
    shortest = _SHORTEST if password else _SHORTEST_TOKEN
    if len(text) < shortest or " " in text or _refused(text):
        return False
    if _DIGIT.search(text) or _mixed(text):
        return True
    return password and (not text.isalpha() or (len(text) >= _SHORTEST_UNQUOTED and not _PASSWORD_WORD.search(text)))


def _is_phrase(text: str) -> bool:
    """Whether ``text``, the value of a password in an object's notation, is words that may be one, and no label."""
    return (
        " " in text
        and len(text) >= _SHORTEST_TOKEN
        and text[-1] not in ".:!?…"
        and not is_placeholder(text)
        and not _PASSWORD_WORD.search(text)
    )


def _accepts_unquoted(text: str, *, password: bool) -> bool:
    if len(text) < _SHORTEST or _refused(text) or _is_code(text):
        return False
    if text.isdecimal():
        return password or len(text) >= _LONG
    if len(text) < _SHORTEST_UNQUOTED:
        return False
    letters = _LETTER.search(text) is not None
    if letters and _DIGIT.search(text):
        return password or len(text) >= _SHORTEST_TOKEN
    if _mixed(text):
        return True
    symbols = _SYMBOL.search(text) is not None
    return (password and letters and symbols) or (len(text) > 2 * _LONG and not symbols and "." not in text)


def _is_code(text: str) -> bool:
    return ("." in text or "(" in text or "[" in text or text.isalpha() or text.isupper()) and _CODE.fullmatch(
        text
    ) is not None


def _mixed(text: str) -> bool:
    """Whether the case changes as it does in random text, not as in camelCase."""
    changes = len(_IRREGULAR.findall(text))
    return changes > 1 and len(text) / (1 + changes) < _SHORTEST_UNQUOTED
