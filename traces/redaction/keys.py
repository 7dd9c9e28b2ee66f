"""Which names of fields promise a secret, and which only speak about one.

``api_key``, ``dbPassword``, ``X-Auth-Token`` and ``Set-Cookie`` hold secrets; ``max_tokens``, ``token_count``,
``password_policy`` and ``secret_name`` do not.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from traces.redaction.spans import Label


class KeyKind(Enum):
    """What the name of a field says about its value."""

    PLAIN = 0
    CONTEXT = 1  # the name is the context word of a number: phone, passport, ssn
    SECRET = 2  # the whole value is a secret


_WORDS = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_PASSWORDS = frozenset(
    [
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "passcode",
        "pass",
        "pwd",
        "pw",
        "psw",
        "psswd",
        "pword",
        "userpass",
        "dbpass",
        "passwort",
        "passwörter",
        "kennwort",
        "motdepasse",
        "passe",
        "mdp",
        "contraseña",
        "contrasena",
        "contrasenya",
        "senha",
        "clave",
        "parola",
        "wachtwoord",
        "hasło",
        "haslo",
        "lösenord",
        "losenord",
        "heslo",
        "şifre",
        "sifre",
        "salasana",
        "adgangskode",
        "jelszó",
        "пароль",
        "密码",
        "密碼",
        "口令",
        "パスワード",
        "비밀번호",
        "암호",
    ],
)
_SECRETS = frozenset(
    [
        "secret",
        "secrets",
        "credential",
        "credentials",
        "creds",
        "authorization",
        "authentication",
        "cookie",
        "cookies",
        "apikey",
        "apikeys",
        "apitoken",
        "authtoken",
        "accesstoken",
        "refreshtoken",
        "secretkey",
        "privatekey",
        "accesskey",
        "authkey",
        "sessionid",
        "sessiontoken",
        "csrftoken",
        "xsrftoken",
        "clientsecret",
        "bearer",
        "jwt",
        "otp",
        "cvv",
        "cvc",
        "cvv2",
        "cvc2",
        "geheimnis",
        "privkey",
        "sshkey",
        "keypass",
        "connectionstring",
        "phpsessid",
        "jsessionid",
        "csrfmiddlewaretoken",
        "mnemonic",
    ],
)
# Codes that are good for one sign-in or for getting an account back.
_CODES = tuple(
    f"{owner}{code}"
    for owner in ("recovery", "backup", "verification", "mfa", "2fa", "twofactor", "onetime", "seed")
    for code in ("code", "codes", "phrase")
)
_TOKENS = frozenset({"token", "tok", "令牌", "トークン", "токен", "jeton"})
_KEY_OWNERS = frozenset(
    [
        "api",
        "access",
        "secret",
        "private",
        "signing",
        "encryption",
        "encrypt",
        "decryption",
        "master",
        "account",
        "shared",
        "auth",
        "ssh",
        "service",
        "app",
        "application",
        "client",
        "deploy",
        "deployment",
        "license",
        "hmac",
        "aes",
        "rsa",
        "pgp",
        "gpg",
        "crypto",
        "cipher",
        "subscription",
        "webhook",
        "server",
        "storage",
        "admin",
        "session",
        "jwt",
        "consumer",
        "function",
        "functions",
        "host",
        "publishable",
        "restricted",
        "bot",
        "openai",
        "anthropic",
        "stripe",
        "sendgrid",
        "twilio",
        "groq",
        "mistral",
        "gemini",
        "azure",
    ],
)
_ABOUT = frozenset(
    [
        "name",
        "names",
        "type",
        "types",
        "count",
        "counts",
        "length",
        "len",
        "policy",
        "policies",
        "url",
        "uri",
        "urls",
        "endpoint",
        "id",
        "ids",
        "expires",
        "expiry",
        "expiration",
        "ttl",
        "at",
        "in",
        "required",
        "enabled",
        "disabled",
        "field",
        "fields",
        "label",
        "min",
        "max",
        "size",
        "limit",
        "limits",
        "usage",
        "used",
        "hint",
        "strength",
        "changed",
        "updated",
        "created",
        "reset",
        "rotation",
        "file",
        "path",
        "dir",
        "env",
        "variable",
        "var",
        "ref",
        "reference",
        "status",
        "valid",
        "validity",
        "version",
        "validator",
        "validators",
        "validation",
        "prompt",
        "rule",
        "rules",
        "format",
        "manager",
        "provider",
        "store",
        "storage",
        "schema",
        "description",
        "title",
        "placeholder",
        "help",
        "message",
        "error",
        "errors",
        "exists",
        "confirmation",
        "confirm",
        "source",
        "method",
        "mode",
        "kind",
        "scheme",
        "algorithm",
        "domain",
        "domains",
        "jar",
        "consent",
        "banner",
        "index",
        "position",
        "offset",
        "limiter",
        "budget",
        "price",
        "cost",
        "costs",
        "per",
        "rate",
        "rates",
        "windows",
        "window",
        "stats",
        "details",
        "logprobs",
        "ids_only",
        "free",
        "based",
    ],
)
_CONFIRMATIONS = frozenset({"confirmation", "confirm"})
# The word that is put before the value of such a field, so that the same rules read fields and prose.
_CONTEXTS = (
    (
        re.compile(r"(?i)passport|passeport|reisepass|pasaporte|passaporto|paspoort|паспорт|护照|護照|パスポート"),
        "passport: ",
    ),
    (re.compile(r"(?i)ssn|social_?sec|tax_?id"), "ssn: "),
    (
        re.compile(
            r"(?i)phone|mobil|cell|tel(?![a-z])|telefon|fax|sms|whatsapp|handy|rufnummer|contact_?n|msisdn|電話|电话|手机|телефон",
        ),
        "phone: ",
    ),
    (re.compile(r"(?i)card|(?<![a-z])pan(?![a-z])|tarjeta|karte"), "card: "),
)
_MOST_SPACES = 4  # in a name; with more it is a sentence
_MEMBER = re.compile(r"\w\[([a-z][\w-]{0,60})\]$")  # user[password] of a form
_NAME = re.compile(
    r"[\w\s.:@+/$-]*"
)  # other characters are those of a sentence, of code, or of a token put there before
_LONGEST_KEY = 128  # characters of a name that are read, from its end
_SHORT_KEY = 15  # an identifier this short is neither an address nor a token

# A string of a JSON document that may be such a name: a superset of what kind_of tells apart, for one RE2 pass.
NAME_TRIGGER = (
    r"(?i:pass|pwd|pw\b|psw|pword|kennwort|mdp|contrase|senha|clave|parola|wachtwoord|has.o|l.senord|heslo|.ifre|salasana|adgangskode"
    r"|jelsz|secret|sessid|mnemonic|phrase|(?:recovery|backup|verification|mfa|factor|2fa|time)[^\"]{0,2}code|credential|creds|auth|cookie|key|session|csrf|xsrf|bearer|jwt|otp|cv[vc]|geheimnis|connection|jeton|\?"
    r"|phone|mobil|cell|tel|fax|sms|whatsapp|handy|rufnummer|contact|msisdn|ssn|social|tax|card|pan|tarjeta|karte)"
    r"[^\"]{0,40}\"[\s\x1a\\]*[:,}]"
    r"|(?i:tok(?:en)?)(?:[^a-z\"][^\"]{0,40})?\"[\s\x1a\\]*[:,}]"  # not tokens, of which every trace has many
)


class FieldName(NamedTuple):
    """What the name of a field asks for, when it asks for anything."""

    kind: KeyKind
    context: str  # the context word to read the value behind
    scanned: bool  # whether the name is long or odd enough to hold a value itself


@lru_cache(maxsize=8192)
def field_name(name: str) -> FieldName | None:
    """Return what ``name`` asks for, or None for a plain short identifier."""
    kind = kind_of(name)
    scanned = len(name) > _SHORT_KEY or not name.isidentifier()
    if kind is KeyKind.PLAIN and not scanned:
        return None
    return FieldName(kind, context_of(name) if kind is KeyKind.CONTEXT else "", scanned)


@lru_cache(maxsize=8192)
def kind_of(name: str) -> KeyKind:
    """Return what the field name ``name`` says about its value, in any case style and in the usual languages."""
    member = _MEMBER.search(name)
    name = member[1] if member is not None else name[-_LONGEST_KEY:]
    if not _NAME.fullmatch(name) or name.count(" ") > _MOST_SPACES:
        return KeyKind.PLAIN
    words = [word.lower() for word in _WORDS.findall(name)]
    if _is_secret(words):
        return KeyKind.SECRET
    return KeyKind.CONTEXT if context_of(name) else KeyKind.PLAIN


def context_of(name: str) -> str:
    """Return the context word that the field ``name`` stands for, such as ``"phone: "``, or an empty string."""
    return next((word for pattern, word in _CONTEXTS if pattern.search(name)), "")


@lru_cache(maxsize=8192)
def label_of(name: str) -> Label:
    """Return the label of a secret under ``name``: AWS secrets have their own."""
    squeezed = re.sub(r"[^a-z]", "", name.lower())
    return Label.AWS_SECRET if "awssecret" in squeezed or "secretaccesskey" in squeezed else Label.GENERIC_SECRET


def _is_secret(words: list[str]) -> bool:
    if not words:
        return False
    if "".join(words[-2:]) == "connectionstring":
        return True
    while len(words) > 1 and (
        words[-1].isdigit() or words[-1] in {"value", "string", "header", "raw", "text", "plain", "hash", "pem"}
    ):
        words = words[:-1]
    last = words[-1]
    if last in _CONFIRMATIONS and len(words) > 1:
        last = words[-2]
    elif last in _ABOUT:
        return False
    if last in _TOKENS or last in _PASSWORDS:
        return True
    if last in {"key", "keys"} and len(words) > 1:
        return not _KEY_OWNERS.isdisjoint(words[:-1])
    joined = "".join(words)
    return (
        not _SECRETS.isdisjoint(words)
        or not (_PASSWORDS - {"pass", "pw", "clave"}).isdisjoint(words)
        or joined.endswith(
            ("password", "passwd", "passphrase", "secret", "apikey", "motdepasse", "authtoken", "accesstoken", *_CODES)
        )
        or (last == "auth" and len(words) == 1)
    )
