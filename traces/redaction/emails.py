"""E-mail addresses (RFC 5322 and 6531: quoted, plus-tagged, international) and user names with passwords in URLs."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from operator import methodcaller

from traces.redaction.canonical import FILLER
from traces.redaction.spans import Found, Label

_EMAIL, _URL_CREDENTIALS = Label.EMAIL, Label.URL_CREDENTIALS

_USUAL_REACH = 64  # characters of the longest usual local part
LOCAL_REACH = 256  # characters before an @ in which its local part or URL must begin

# Letters of every script with their combining marks, without punctuation, symbols and separators.
_LETTER = r"\w\u0300-\u036f\u0900-\u0dff\u0e31-\u0e4e\u1000-\u109f\u1780-\u17ff" + FILLER
_LOCAL_REVERSED = re.compile(rf"[{_LETTER}.+'%-]{{1,{LOCAL_REACH}}}")
_LOCAL_ASCII = string.ascii_letters + string.digits + "_.+'%-" + FILLER  # those characters of it that are ASCII
_QUOTED_REVERSED = re.compile(rf"{FILLER}*\"[^\"\n\x00:,{{}}\[\]]{{0,64}}\w[^\"\n\x00:,{{}}\[\]]{{0,64}}\"")
_NEVER_FIRST = ".'%+-" + FILLER
_NEVER_ALONE = _NEVER_FIRST + "_"
_QUOTED_ENDS = frozenset({'"', FILLER})
_LABEL = rf"[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?"
_DOMAIN = re.compile(rf"{FILLER}*(?:{_LABEL}\.){{1,8}}")
# The same in ASCII, with what comes behind it in doubt neither way: one match instead of a step for each label.
_USUAL_DOMAIN = re.compile(
    rf"{FILLER}{{0,8}}"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}([A-Za-z]{2,24})(?=\.?(?:[\s\"'<>()\[\]{},;:!?|/&=\0]|\Z))"
)
_LITERAL = re.compile(rf"{FILLER}*\[(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|IPv6:[0-9A-Fa-f:.]{{2,45}})\]")
_AT_DOMAIN = re.compile(rf"@{FILLER}*(?:\[|[{_LETTER}-]{{1,63}}\.)")
_ENDS_WITH_AT = methodcaller("endswith", ("at", "AT"))  # ana [at] example.com
_SPELLED_AT = re.compile(r" {0,2}[\[(] ?(?:at|AT) ?[\])] {0,2}")
_SPELLED_LOCAL_REVERSED = re.compile(rf"[{_LETTER}+-](?:[{_LETTER}.+-]{{0,63}})")
_SPELLED_DOMAIN = re.compile(rf"{_LABEL}(?:(?:\.| {{0,2}}[\[(] ?(?:dot|DOT) ?[\])] {{0,2}}){_LABEL}){{1,8}}")
_ASCII_TLD = re.compile(r"(?:xn--[A-Za-z0-9-]{1,59}|[A-Za-z]{2,24})(?![A-Za-z0-9_])")
# With an underscore behind: `anna@example.com_backup`. Shorter and everyday words would be code, `x@y.is_valid`.
_GLUED_TLDS = ("com", "org", "net", "edu", "gov", "biz", "example")
_GLUED_TLD = re.compile(rf"(?i:{'|'.join(_GLUED_TLDS)})(?=_)")
_FIRST_LETTERS = re.compile(r"[a-z]*(?=[-_])")
_SCALE = re.compile(r"\d+x")  # icon@2x.en-GB.png
_FOREIGN_TLD = re.compile(r"[^\x00-\x19\x1b-\x7f\u3000-\u3002\uff00-\uff65\u2000-\u206f\u300c-\u3011]{2,64}")
_KANA = re.compile(r"[\u3041-\u30ff]")
_NO_SPACE_SCRIPT = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\u0e01-\u0e4e]")
_IDN_TLDS = [
    "中国",
    "中國",
    "公司",
    "网络",
    "網絡",
    "网址",
    "香港",
    "台湾",
    "台灣",
    "新加坡",
    "澳門",
    "澳门",
    "商城",
    "集团",
    "我爱你",
    "在线",
    "中文网",
    "世界",
    "信息",
    "移动",
    "商标",
    "餐厅",
    "娱乐",
    "游戏",
    "企业",
    "政府",
    "机构",
    "组织机构",
    "手机",
    "한국",
    "닷컴",
    "닷넷",
    "삼성",
    "みんな",
    "ストア",
    "コム",
    "セール",
    "グーグル",
    "世界",
    "คอม",
    "ไทย",
]

_AUTHORITY = re.compile(r"[^\s/\"'<>\x00]{0,512}")
_USERINFO_BREAK = re.compile(r"[,;()]")
_PLACEHOLDER_PASSWORD = re.compile(
    r"(?i)[*x.•]+|<.*|\$?\{.*|\$[A-Z_]+|%[({s].*|\[.*|pass(?:word|wd)?|pwd|secret|token|your.*|"
)

# Ends of names such as logo@2x.png or getty@tty1.service that look like a domain.
_TOKEN_LENGTH = 16  # a user name this long, with digits, is a token: https://<token>@host/
_FILE_ENDINGS = frozenset(
    [
        "avif",
        "bin",
        "bmp",
        "bz",
        "css",
        "csv",
        "deb",
        "dll",
        "doc",
        "docx",
        "exe",
        "gif",
        "go",
        "gz",
        "h",
        "htm",
        "html",
        "ico",
        "img",
        "ini",
        "ipynb",
        "iso",
        "jar",
        "java",
        "jpeg",
        "jpg",
        "js",
        "json",
        "jsx",
        "lock",
        "log",
        "lua",
        "map",
        "min",
        "mjs",
        "mount",
        "mp3",
        "mp4",
        "pdf",
        "php",
        "plist",
        "png",
        "pyc",
        "rb",
        "rpm",
        "scss",
        "service",
        "slice",
        "socket",
        "sqlite",
        "svg",
        "swift",
        "tar",
        "target",
        "tgz",
        "tif",
        "tiff",
        "timer",
        "toml",
        "ts",
        "tsx",
        "ttf",
        "txt",
        "wasm",
        "wav",
        "webm",
        "webp",
        "whl",
        "woff",
        "woff2",
        "xls",
        "xlsx",
        "xml",
        "yaml",
        "yml",
        "zip",
    ],
)
_USUAL_TLDS = frozenset(
    [
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "mil",
        "int",
        "info",
        "biz",
        "name",
        "pro",
        "app",
        "dev",
        "cloud",
        "online",
        "site",
        "shop",
        "tech",
        "xyz",
        "example",
        "test",
        "local",
    ],
)
_COUNTRY = 2  # letters of a country's top-level domain
_SERVICE_USERS = frozenset({"git", "hg", "svn"})


def find_emails(view: str) -> Iterator[Found]:
    """Yield the e-mail address, or the user and password of a URL, around every ``@`` of a canonical view."""
    if any(map(_ENDS_WITH_AT, view.split("]")[:-1])) or any(map(_ENDS_WITH_AT, view.split(")")[:-1])):
        yield from _disguised(view)
    scheme = view.find("://")
    if scheme < 0:
        for at in _AT_DOMAIN.finditer(view):
            span = _address(view, at.start())
            if span is not None:
                yield span
        return
    position = view.find("@")
    authority = range(0)
    while position >= 0:
        while 0 <= scheme < position:
            authority = range(scheme + 3, _end(_AUTHORITY, view, scheme + 3))
            scheme = view.find("://", scheme + 3)
        if position in authority:
            last = view.rfind("@", position, _userinfo_end(view, position, authority.stop))
            yield from _credentials(view[authority.start : last], authority.start)
            position, authority = last, range(0)
        else:
            span = _address(view, position)
            if span is not None:
                yield span
        position = view.find("@", position + 1)


def _disguised(view: str) -> Iterator[Found]:
    """Find ``name [at] example [dot] org``."""
    for sign in _SPELLED_AT.finditer(view):
        domain = _SPELLED_DOMAIN.match(view, sign.end())
        local = _SPELLED_LOCAL_REVERSED.match(view[max(0, sign.start() - LOCAL_REACH) : sign.start()][::-1])
        if domain is not None and local is not None:
            yield (sign.start() - local.end(), domain.end(), _EMAIL)


def _address(view: str, at: int) -> Found | None:
    usual = _USUAL_DOMAIN.match(view, at + 1)
    if usual is None:
        end = _domain_end(view, at + 1)
    elif usual[1].lower() in _FILE_ENDINGS:
        end = _before_file_ending(view, at + 1, usual.start(1))
    else:
        end = usual.end()
    start = None if end is None else _local_start(view, at)
    return None if start is None or end is None else (start, end, _EMAIL)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return position if match is None else match.end()


def _userinfo_end(view: str, at: int, stop: int) -> int:
    separator = _USERINFO_BREAK.search(view, at, stop)
    return stop if separator is None else separator.start()


def _credentials(userinfo: str, start: int) -> Iterator[Found]:
    user, colon, password = userinfo.partition(":")
    if colon:
        secret = not _PLACEHOLDER_PASSWORD.fullmatch(password)
    else:
        secret = len(user) >= _TOKEN_LENGTH and any(character.isdigit() for character in user)
    if secret:
        yield (start, start + len(userinfo), _URL_CREDENTIALS)


def _domain_end(view: str, start: int) -> int | None:
    labels = _DOMAIN.match(view, start)
    if labels is None:
        literal = _LITERAL.match(view, start)
        return None if literal is None else literal.end()
    end = labels.end()
    # The greedy match may have eaten the last dot of a sentence: step back to a label that can be a top-level domain.
    while end > start:
        tld_end = _tld_end(view, end)
        if tld_end is not None:
            return (
                _before_file_ending(view, start, end)
                if view[end:tld_end].lower().lstrip(FILLER) in _FILE_ENDINGS
                else tld_end
            )
        dot = view.rfind(".", start, end - 1)
        if dot < 0:
            return None
        end = dot + 1
    return None


def _before_file_ending(view: str, start: int, ending: int) -> int | None:
    """Where the address ends in a file's name, ``ana@example.com.txt``; None for ``logo@2x.png``, which holds none."""
    while (dot := view.rfind(".", start, ending - 1)) >= 0:
        label = view[dot + 1 : ending - 1].lower()
        if label not in _FILE_ENDINGS:
            if label in _USUAL_TLDS or (len(label) == _COUNTRY and label.isalpha()):
                return ending - 1
            return _before_more(view, start, dot, label)
        ending = dot + 1
    return None


def _before_more(view: str, start: int, dot: int, label: str) -> int | None:
    """Where the address ends when more is glued to it, ``ana@example.com-backup.csv``; None if it is none."""
    letters = _FIRST_LETTERS.match(label)
    if letters is None:
        return None
    before = view[max(start, view.rfind(".", start, dot) + 1) : dot]
    country = letters.end() == _COUNTRY and not _SCALE.fullmatch(before)
    return dot + 1 + letters.end() if country or letters[0] in _GLUED_TLDS else None


def _tld_end(view: str, start: int) -> int | None:
    while view.startswith(FILLER, start):  # behind a full stop that was an escape
        start += 1
    match = _ASCII_TLD.match(view, start) or _GLUED_TLD.match(view, start)
    if match is not None:
        return match.end()
    match = _FOREIGN_TLD.match(view, start)
    if match is None:
        return None
    for tld in _IDN_TLDS:
        if view.startswith(tld, start):
            return start + len(tld)
    kana = _KANA.search(view, start, match.end())
    end = kana.start() if kana is not None and kana.start() > start else match.end()
    return end if end - start >= 2 and view[start].isalpha() else None  # noqa: PLR2004


def _local_start(view: str, at: int) -> int | None:
    if view[at - 1 : at] in _QUOTED_ENDS:
        quoted = _QUOTED_REVERSED.match(view[max(0, at - LOCAL_REACH - 2) : at][::-1])
        if quoted is not None:
            return at - quoted.end()
    length = _local_length(view, at, _USUAL_REACH)
    if length == _USUAL_REACH:  # it may go on: to look at so much before every sign takes long
        length = _local_length(view, at, LOCAL_REACH)
    if not length:
        return None
    local = view[at - length : at]
    if not local.isascii():
        local = _after_script_switch(local)
    stripped = local.lstrip(_NEVER_FIRST)
    if not stripped.strip(_NEVER_ALONE) or stripped in _SERVICE_USERS:
        return None
    return at - len(stripped)


def _local_length(view: str, at: int, reach: int) -> int:
    """Return how many of the ``reach`` characters before an ``@`` can belong to a local part."""
    before = view[max(0, at - reach) : at]
    if before.isascii():  # the same answer, in half the time
        return len(before) - len(before.rstrip(_LOCAL_ASCII))
    match = _LOCAL_REVERSED.match(before[::-1])
    return 0 if match is None else match.end()


def _after_script_switch(local: str) -> str:
    """Cut words of a script without spaces that stand before the address: メールはana@…, and kana before Han."""
    last = local.rstrip(FILLER)[-1:]
    if last.isascii() or not _NO_SPACE_SCRIPT.match(last):
        glued = [match.end() for match in _NO_SPACE_SCRIPT.finditer(local)]
    elif not _KANA.match(last):
        glued = [match.end() for match in _KANA.finditer(local)]
    else:
        glued = []
    return local[glued[-1] :] if glued else local
