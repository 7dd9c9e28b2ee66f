"""What a tool needs and what it does to the world: the part of the vocabulary that a tool's own code uses.

The standard library only: the sandbox's children have it in memory, and each of them pays for what is there.
"""

from __future__ import annotations

from enum import StrEnum


class ToolPermission(StrEnum):
    """What a tool needs in order to do its work; declared on its manifest."""

    NETWORK = "network"
    FILESYSTEM = "filesystem"
    SUBPROCESS = "subprocess"
    DATABASE = "database"
    SECRETS = "secrets"


class Reversibility(StrEnum):
    """Whether what a tool does can be taken back (OWASP AISVS 9.2.3)."""

    READ_ONLY = "read_only"
    REVERSIBLE = "reversible"
    EXTERNALLY_REVERSIBLE = "externally_reversible"
    IRREVERSIBLE = "irreversible"
