"""Secrets that show by the words before them: ``DB_PASSWORD: …``, ``--token …``, ``Authorization: Bearer …``."""

# ruff: noqa: E501  patterns are kept whole, and hold look-alike characters on purpose

from __future__ import annotations

import re
from functools import lru_cache

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
    rf"|(?i:\b(?:login|sshpass)\b[^\n\x00|;&]{{0,60}} -p[ =])"
    rf"|--?[\w-]*(?i:password|passwd|pass|pwd|token|secret|api-?key)[ \t=]"
    rf"|(?i:\b(?:bearer|basic|token|apikey)[ \t]{{1,3}})[\w.~+/-]{{8}}"
    rf"|(?:-u|--user)[ =][\"']?[\w.-]{{1,32}}:"
)

# What else than a colon may stand between a name and its value, by the group that it matches.
_LINK = re.compile(
    rf"(?i)(?P<field>{_VALUE_FIELD}$)|(?P<markup>^<.*>$)|(?P<cell>^\|.*\|$)|(?P<environment>^env[ \t].*[ \t]$)"
    r"|(?P<login>^login[ \t].*password[ \t]$|^(?:login|sshpass)\b.* -p[ =]$|^identified by .$)"
    r"|(?P<quoted>(?:[\"'], ?|[ (]{1,2}|[\"'\])]{0,3} ?(?:\|\||\?\?|or) ?)[\"'`]$)"
)
_NAME_REVERSED = re.compile(r"[\w.\x1a-]+")
_LONGEST_NAME = 80
_SEPARATORS = " \t\x1a\"'`]):=>*"
_OPENING = re.compile(r"(?:\*\*)?[ \t\x1a]{0,16}(?:[rbfu]{0,2}([\"'`]{1,3})\x1a{0,16})?")
_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|digest|apikey|negotiate|aws4-hmac-sha256)[ \t]+")
_NAME_AHEAD = re.compile(r"[A-Za-z_.-]{1,40}=\w")
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


def find_credential(view: str, position: int, end: int) -> Found | None:  # noqa: PLR0911  one way out for each form
    """Return the value of the name whose trigger matched ``view[position:end]``, if it can be a secret."""
    if view[end : end + 1] in _NOTHING or _NAME_AHEAD.match(view, end):
        return None
    matched = view[position:end]
    if matched[0] == "-":
        if matched.startswith(("-u ", "-u=", "--user ", "--user=")):
            return _user_and_password(view, end)
        return _value(view, end, matched.strip("- =\t"))
    link = _LINK.search(matched) if _may_link(matched) else None
    if link is not None:
        return _linked(view, end, link)
    name = matched.rstrip(_SEPARATORS)
    copula = _COPULA.search(matched) if " " in matched or "\t" in matched else None
    if copula is None and len(name) < len(matched) and matched[-1] in ":=>":
        name = _name(view, position, position + len(name))
        if kind_of(name) is not KeyKind.SECRET or view.startswith("://", max(0, position - 3)):
            return None
        return _value(view, end, name)
    scheme = _SCHEME.match(view, position)
    if scheme is not None:
        return _bearer(view, scheme.end())
    if copula is None or kind_of(_name(view, position, position + copula.start())) is not KeyKind.SECRET:
        return None
    span = _value(view, _past_colon(view, end), matched)
    certain = span is not None and (_PASSWORD_NOUN.search(matched) or span[1] - span[0] >= _LONG)
    return span if certain else None


def _may_link(matched: str) -> bool:
    return (
        matched[0] in "<|("
        or matched[-1] in "\"'` \t"
        or matched.endswith("p=")
        or "alue" in matched
        or "ALUE" in matched
    )


def _linked(view: str, end: int, link: re.Match[str]) -> Found | None:
    """Return the value of a name that is followed by no colon, but stands in markup, a table, a call, a command."""
    kind = link.lastgroup
    if kind == "login":
        return _value(view, end - link[0].endswith(("'", '"')), "password")
    quoted = kind == "quoted"
    name = link.string[: link.start()] if quoted or kind == "field" else link.string.strip("<>| \t").split()[-1]
    if kind_of(name.strip("(\"' ").rpartition(":")[2]) is not KeyKind.SECRET:
        return None
    span = _value(view, end - quoted, name)
    if span is None or (quoted or kind == "cell") > (_DIGIT.search(view, span[0], span[1]) is not None):
        return None
    return span


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


def _bearer(view: str, start: int) -> Found | None:
    match = _BEARER.match(view, start)
    if match is None or _refused(match[0]) or not any(character.isdigit() for character in match[0]):
        return None
    return (start, match.end(), Label.GENERIC_SECRET)


def _value(view: str, position: int, name: str) -> Found | None:
    opening = _OPENING.match(view, position)
    if opening is None:
        return None
    start = opening.end()
    if view[start : start + 1] in _SCHEME_STARTS:
        scheme = _SCHEME.match(view, start)
        start = start if scheme is None else scheme.end()
    password = is_password_name(name)
    if opening[1]:
        end = _closing(view, start, opening[1])
        accepted = _accepts_quoted(view[start:end], password=password)
    else:
        end = _unquoted_end(view, start)
        accepted = _accepts_unquoted(view[start:end], password=password)
    if not accepted:
        return None
    return (start, _rest(view, end) if end - start == _JUDGED else end, label_of(name))


def _rest(view: str, end: int) -> int:
    """Where a value of which only the first characters were judged really ends."""
    while (match := _UNQUOTED.match(view, end)) is not None:
        end = match.end()
    return end


def _closing(view: str, start: int, quote: str) -> int:
    end = view.find(quote, start, start + _QUOTED_REACH)
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
