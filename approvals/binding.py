"""What an approval is bound to, as digests, and what differs between two bindings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from approvals.canonical import canonical, digest
from approvals.types import Binding

_FACTS = (
    ("tenant_id", "call", "The call belongs to another tenant."),
    ("run_id", "call", "The call belongs to another run."),
    ("call_id", "call", "It is another call."),
    ("tool", "call", "Another tool would be called."),
    ("requester_id", "requester", "The run was submitted by another person."),
    ("agent_id", "agent", "Another agent makes the call."),
    ("agent_version", "agent", "The agent's configuration was changed."),
    ("tool_schema_digest", "tool_schema", "The tool's declaration was changed."),
    ("policy_digest", "policy", "The policy for this tool was changed."),
    ("sandbox_digest", "sandbox", "What the sandbox allows was changed."),
    ("context_digest", "context", "What the call acts on has changed, such as the file that it would replace."),
)
_SHOWN = frozenset({"tool", "agent_version"})


def digest_of(binding: Binding) -> str:
    """SHA-256, hex, of the canonical JSON (RFC 8785) of everything that an approval is bound to.

    The nonce is not part of it: the same call keeps its digest through an undo. The nonce is bound by the signature
    of each decision, which covers this digest and the nonce of the round in which the decision was made.
    """
    return digest(facts_of(binding))


def facts_of(binding: Binding) -> dict[str, Any]:
    """The binding as plain JSON."""
    return {
        "version": 1,
        "tenant": binding.tenant_id,
        "run": str(binding.run_id),
        "call": binding.call_id,
        "tool": binding.tool,
        "tool_schema": binding.tool_schema_digest,
        "arguments": binding.arguments,
        "requester": binding.requester_id,
        "agent": binding.agent_id,
        "agent_version": binding.agent_version,
        "policy": binding.policy_digest,
        "sandbox": binding.sandbox_digest,
        "context": binding.context_digest,
    }


def view_digest_of(data: Mapping[str, Any]) -> str:
    """SHA-256, hex, of the canonical JSON of what a reviewer was shown."""
    return digest(data)


def difference(fact: str, text: str, *, pointer: str = "", before: Any = None, after: Any = None) -> dict[str, Any]:
    """One line of a change (`docs/reference/presentation.md`, Change), with raw values still."""
    return {"fact": fact, "text": text, "pointer": pointer, "before": before, "after": after}


def change_of(differences: list[dict[str, Any]]) -> dict[str, Any]:
    """A change as it is stored with the gate that asks again."""
    return {"version": 1, "differences": differences}


def edit_of(editor: str, reason: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What a reviewer's edit changed, as `change_of`; values are raw, `editor` and `reason` are fit to be shown."""
    told = f"{editor} edited the arguments." + (f" The reason: {reason}" if reason else "")
    found = [difference("edit", told), *_argument_differences(old, new, "")]
    return {**change_of(found), "edit": {"by": editor}}


def differences(old: Binding, new: Binding) -> list[dict[str, Any]]:
    """What a person has to know of the difference between the approved call and the present one.

    The values of arguments are raw: whoever stores or shows the answer redacts it first. Empty when nothing differs.
    """
    found = []
    for name, fact, text in _FACTS:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            shown = name in _SHOWN
            found.append(difference(fact, text, before=before if shown else None, after=after if shown else None))
    found += list(_argument_differences(old.arguments, new.arguments, ""))
    return found


def _argument_differences(old: Any, new: Any, pointer: str) -> Iterator[dict[str, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            where = f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
            if name not in new:
                yield difference("arguments", "An argument was taken away.", pointer=where, before=old[name])
            elif name not in old:
                yield difference("arguments", "An argument was added.", pointer=where, after=new[name])
            else:
                yield from _argument_differences(old[name], new[name], where)
    elif type(old) is not type(new) or canonical(old) != canonical(new):
        yield difference("arguments", "An argument was changed.", pointer=pointer, before=old, after=new)
