"""Values shaped like secrets and personal data, made when a test runs: none of them stands in the repository."""

from __future__ import annotations

import random
import string

ALPHANUMERIC = string.ascii_letters + string.digits
HEXADECIMAL = "0123456789abcdef"
UPPER = string.ascii_uppercase + "234567"


class Samples:
    """A reproducible source of values."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)  # noqa: S311  test data, not keys

    def text(self, length: int, alphabet: str = ALPHANUMERIC) -> str:
        body = "".join(self._random.choice(alphabet) for _ in range(length - 2))
        return self._random.choice("ABCDEFGH" if "A" in alphabet else "abcdef") + body + "7"

    def digits(self, length: int) -> str:
        return "".join(self._random.choice(string.digits) for _ in range(length))

    def card(self, prefix: str = "4", length: int = 16) -> str:
        body = prefix + self.digits(length - len(prefix) - 1)
        return next(body + check for check in string.digits if luhn_holds(body + check))

    def iban(self, country: str = "DE", length: int = 22) -> str:
        account = self.digits(length - 4)
        numeric = "".join(str(int(character, 36)) for character in account + country + "00")
        return f"{country}{98 - int(numeric) % 97:02d}{account}"

    def pem(self, kind: str = "RSA ") -> str:
        body = "\n".join(self.text(64) for _ in range(12))
        marker = "PRIVATE" + " KEY"
        return f"-----BEGIN {kind}{marker}-----\n{body}\n-----END {kind}{marker}-----"

    def jwt(self) -> str:
        return f"ey{'J'}hbGciOiJIUzI1NiJ9.ey{'J'}{self.text(40)}.{self.text(43)}"

    def vendor_tokens(self) -> dict[str, str]:
        """One token of each vendor that a tenant's traces are most likely to meet, by name."""
        return {
            "openai": f"sk-{self.text(48)}",
            "openai project": f"sk-proj-{self.text(120)}",
            "openai service account": f"sk-svcacct-{self.text(120)}",
            "anthropic": f"sk-ant-api03-{self.text(93)}AA",
            "openrouter": f"sk-or-v1-{self.text(64, HEXADECIMAL)}",
            "aws": f"AKIA{self.text(16, UPPER)}",
            "aws session": f"ASIA{self.text(16, UPPER)}",
            "github": f"ghp_{self.text(36)}",
            "github fine-grained": f"github_pat_{self.text(22)}_{self.text(59)}",
            "gitlab": f"glpat-{self.text(20)}",
            "slack bot": f"xoxb-{self.digits(12)}-{self.digits(12)}-{self.text(24)}",
            "slack webhook": "https://hooks.slack.com/services/"
            f"T{self.text(8, UPPER)}/B{self.text(8, UPPER)}/{self.text(24)}",
            "stripe": f"sk_live_{self.text(24)}",
            "stripe restricted": f"rk_live_{self.text(24)}",
            "google": f"AIza{self.text(35)}",
            "google oauth": f"GOCSPX-{self.text(28)}",
            "digitalocean": f"dop_v1_{self.text(64, HEXADECIMAL)}",
            "shopify": f"shpat_{self.text(32, HEXADECIMAL)}",
            "npm": f"npm_{self.text(36)}",
            "pypi": f"pypi-AgEIcHlwaS5vcmc{self.text(60)}",
            "hugging face": f"hf_{self.text(34)}",
            "groq": f"gsk_{self.text(52)}",
            "sendgrid": f"SG.{self.text(22)}.{self.text(43)}",
            "twilio": f"SK{self.text(32, HEXADECIMAL)}",
            "mailgun": f"key-{self.text(32, HEXADECIMAL)}",
            "databricks": f"dapi{self.text(32, HEXADECIMAL)}",
            "vault": f"hvs.{self.text(40)}",
            "telegram": f"{self.digits(9)}:AA{self.text(33)}",
            "perplexity": f"pplx-{self.text(48)}",
            "linear": f"lin_api_{self.text(40)}",
            "notion": f"ntn_{self.text(46)}",
            "replicate": f"r8_{self.text(37)}",
            "docker": f"dckr_pat_{self.text(27)}",
            "azure": f"{self.text(3)}8Q~{self.text(34)}",
            "aws security token": f"IQoJb3JpZ2luX2Vj{self.text(300)}",
            "mailchimp": f"{self.text(32, HEXADECIMAL)}-us12",
            "terraform": f"{self.text(14)}.atlasv1.{self.text(64)}",
            "twitter": f"{'A' * 21}{self.text(30)}%3D{self.text(40)}",
            "facebook app": f"{self.digits(15)}|{self.text(27)}",
            "asana": f"1/{self.digits(16)}:{self.text(32, HEXADECIMAL)}",
            "mapbox": f"sk.ey{'J'}1{self.text(60)}.{self.text(22)}",
            "render": f"rnd_{self.text(32)}",
            "resend": f"re_{self.text(8)}_{self.text(24)}",
            "mongodb atlas": f"mdb_sa_sk_{self.text(40)}",
            "sourcegraph": f"sgp_{self.text(64)}",
            "zapier": f"https://hooks.zapier.com/hooks/catch/{self.digits(7)}/{self.text(7, HEXADECIMAL)}",
            "jwt": self.jwt(),
        }


def luhn_holds(number: str) -> bool:
    """The check of ISO/IEC 7812, written the long way: an independent witness."""
    total = 0
    for index, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value // 10 + value % 10
    return total % 10 == 0
