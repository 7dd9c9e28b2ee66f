"""What a reviewer sees of a call: built by whoever opens the gate, stored with it, and bound by its digest.

The shape is documented in `docs/reference/presentation.md`. It is complete (nothing is truncated), redacted, and holds
no character that a page would hide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from approvals import chains
from approvals.binding import view_digest_of
from approvals.effects import Reversibility
from approvals.errors import NotPresentable
from approvals.manifests import ToolManifest
from approvals.rendering import RENDERING, Block, Part, Renderer, has_bidirectional, has_hidden, visible
from approvals.requests import HttpCall, hosts_of, mixes_scripts, request_section
from approvals.textdiff import FileChange, changed_lines, file_section
from approvals.types import NeedsApproval
from routekit_site.tenancy.encryption import fingerprint
from traces.redactors import redactor_for, redactor_version

__all__ = [
    "FileChange",
    "HttpCall",
    "Presentation",
    "PresentationContext",
    "Step",
    "masked_at",
    "masked_parts",
    "present",
    "redacted_change",
    "renderer_of",
    "shows_arguments",
]

VERSION = 1
_LARGE_CHARACTERS = 20_000
_SENTENCE_CHARACTERS = 400
_STEP_CHARACTERS = 500
_MARK_DIGITS = 16
_SIDES = ("before", "after")

_REVERSIBILITY = {
    Reversibility.READ_ONLY: "It only reads: there is nothing to take back.",
    Reversibility.REVERSIBLE: "It can be taken back from here.",
    Reversibility.EXTERNALLY_REVERSIBLE: "It can be taken back only with the help of somebody outside.",
    Reversibility.IRREVERSIBLE: "It can't be taken back.",
}


@dataclass(frozen=True)
class Step:
    """One thing that the run did before: a plain title ("Read notes.txt"), and what came of it."""

    title: str
    detail: str = ""


@dataclass(frozen=True)
class PresentationContext:
    """What surrounds the call. Texts are raw: `present` redacts them.

    `verdict` is what policy said; `sandbox` are (label, text) pairs; `file_change` and `request` are given for a call
    that changes a file or sends a request; `change` is a `Drifted.change` where the gate reopens another one.
    """

    verdict: NeedsApproval
    submitter_id: int
    submitter_name: str
    agent_name: str
    agent_version: int
    steps: tuple[Step, ...] = ()
    sandbox: tuple[tuple[str, str], ...] = ()
    file_change: FileChange | None = None
    request: HttpCall | None = None
    change: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Presentation:
    """`data` as documented, its digest, and the redactor that made it."""

    data: dict[str, Any]
    view_digest: str
    redactor_version: int


@dataclass
class _Seen:
    """Where the raw values hold something that the reviewer has to be warned of."""

    bidirectional: list[str] = field(default_factory=list)
    invisible: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)

    def look(self, where: str, value: Any) -> None:
        for text in _texts(value):
            if has_bidirectional(text):
                self.bidirectional.append(where)
            elif has_hidden(text):
                self.invisible.append(where)
            if mixes_scripts(text):
                self.mixed.append(where)
            self.hosts += [host for host in hosts_of(text) if host not in self.hosts]


def present(
    *,
    tenant_id: int,
    tool: str,
    sentence: str,
    arguments: Mapping[str, Any],
    manifest: ToolManifest,
    context: PresentationContext,
) -> Presentation:
    """Build what a reviewer will see of one call.

    Raises:
        NotPresentable: the redactor failed. The call can't be shown, so it can't be approved.
    """
    try:
        version = redactor_version(tenant_id)
        renderer = renderer_of(tenant_id)
        data = {
            "tool": {"name": tool, "description": visible(manifest.description)},
            "sentence": renderer.text(sentence, most=_SENTENCE_CHARACTERS).as_dict(),
            **_call_sections(renderer, arguments, manifest, context.verdict),
            **_context_sections(renderer, context),
            "version": VERSION,
            "rendering": RENDERING,
        }
    except Exception as error:  # noqa: BLE001 - whatever went wrong, nothing raw may pass, its text included
        message = f"{NotPresentable.__doc__} ({type(error).__name__})"
        raise NotPresentable(message) from None
    return Presentation(data, view_digest_of(data), version)


def shows_arguments(tenant_id: int, data: Mapping[str, Any], version: int, arguments: Mapping[str, Any]) -> bool:
    """Whether a stored view shows exactly these arguments: they are rendered again and compared.

    True without a comparison where the tenant's redaction (`version`) or our rendering has changed since: then they'd
    look otherwise, and the digests alone bind them. False where they can't be rendered.
    """
    try:
        if data.get("rendering") != RENDERING or redactor_version(tenant_id) != version:
            return True
        return bool(data.get("arguments") == _arguments(renderer_of(tenant_id), arguments))
    except Exception:  # noqa: BLE001 - as above
        return False


def masked_parts(tenant_id: int, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Part]]:
    """The masked values of a call as (argument as it is shown, raw part), under the tenant's redaction of now."""
    renderer = renderer_of(tenant_id)
    redacted = renderer.redact(dict(arguments))
    for (_, raw), (name, masked) in zip(arguments.items(), redacted.items(), strict=True):
        text = isinstance(raw, str)
        parts = renderer.parts(raw, str(masked)) if text else renderer.value_parts(raw, masked)
        yield from ((visible(name), part) for part in parts if part.mark)


def masked_at(tenant_id: int, pointer: str, value: Any) -> Any:
    """A value as it is redacted in its place in a call's arguments, where a name above it may make it a secret."""
    return _masked_at(renderer_of(tenant_id), pointer, value)


def redacted_change(tenant_id: int, change: Mapping[str, Any]) -> dict[str, Any]:
    """A raw change (`approvals.binding.change_of`) with its values as redacted blocks, ready to be stored and shown.

    Raises:
        NotPresentable: the redactor failed.
    """
    try:
        renderer = renderer_of(tenant_id)
        return {**change, "differences": [_difference(renderer, item) for item in change["differences"]]}
    except Exception as error:  # noqa: BLE001 - as above
        message = f"{NotPresentable.__doc__} ({type(error).__name__})"
        raise NotPresentable(message) from None


def renderer_of(tenant_id: int) -> Renderer:
    """What renders values for a tenant, under its redaction policy of now."""

    def mark(raw: bytes) -> str:
        return fingerprint(tenant_id, raw)[:_MARK_DIGITS]

    return Renderer(redactor_for(tenant_id), mark)


def _call_sections(
    renderer: Renderer, arguments: Mapping[str, Any], manifest: ToolManifest, verdict: NeedsApproval
) -> dict[str, Any]:
    shown = _arguments(renderer, arguments)
    return {
        "risk": chains.risk_in_chain(manifest, verdict).value,
        "reversibility": {
            "class": manifest.reversibility.value,
            "text": _REVERSIBILITY[manifest.reversibility],
        },
        "permissions": sorted(permission.value for permission in manifest.permissions),
        "arguments": shown,
        "warnings": renderer.redact(_warnings(arguments, shown, manifest)),
    }


def _context_sections(renderer: Renderer, context: PresentationContext) -> dict[str, Any]:
    verdict = context.verdict
    return {
        "why": {
            "level": verdict.level.value,
            "rule": visible(verdict.rule),
            "reason": renderer.text(verdict.reason).as_dict(),
            "permissions": sorted(permission.value for permission in verdict.permissions),
            **({} if verdict.chain is None else {"chain": chains.as_shown(verdict.chain)}),
        },
        "approvers": verdict.approvers.as_shown(),
        "agent": {"name": visible(context.agent_name), "version": context.agent_version},
        "submitter": {"id": context.submitter_id, "name": visible(context.submitter_name)},
        "file": file_section(renderer, context.file_change) if context.file_change else None,
        "request": request_section(renderer, context.request) if context.request else None,
        "steps": [
            {
                "title": renderer.text(step.title).as_dict(),
                "detail": renderer.text(step.detail, most=_STEP_CHARACTERS).as_dict(),
            }
            for step in context.steps[-2:]
        ],
        "sandbox": [{"label": label, "text": renderer.text(text).as_dict()} for label, text in context.sandbox],
        "change": dict(context.change) if context.change else None,
    }


def _arguments(renderer: Renderer, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    redacted = renderer.redact(dict(arguments))
    shown = []
    for (_, raw), (shown_name, masked) in sorted(
        zip(arguments.items(), redacted.items(), strict=True), key=lambda pair: pair[0][0]
    ):
        plain = isinstance(raw, str)
        block: Block = renderer.text(raw, str(masked)) if plain else renderer.value(raw, masked)
        shown.append(
            {
                "name": visible(shown_name),
                "pointer": "/" + visible(shown_name).replace("~", "~0").replace("/", "~1"),
                "format": "text" if plain else "json",
                "block": block.as_dict(),
            }
        )
    return shown


def _difference(renderer: Renderer, item: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(item)
    for side in _SIDES:
        if item[side] is not None:
            shown[side] = _at(renderer, str(item["pointer"]), item[side]).as_dict()
    if all(isinstance(item[side], str) and "\n" in item[side] for side in _SIDES):
        shown["lines"] = changed_lines(*(_parts_at(renderer, str(item["pointer"]), item[side]) for side in _SIDES))
        shown["before"] = shown["after"] = None
    shown["pointer"] = renderer.redact(visible(str(item["pointer"])))
    return shown


def _at(renderer: Renderer, pointer: str, value: Any) -> Block:
    masked = _masked_at(renderer, pointer, value)
    return renderer.text(value, str(masked)) if isinstance(value, str) else renderer.value(value, masked)


def _parts_at(renderer: Renderer, pointer: str, text: str) -> list[Part]:
    return renderer.parts(text, str(_masked_at(renderer, pointer, text)))


def _masked_at(renderer: Renderer, pointer: str, value: Any) -> Any:
    """`value` redacted as it would be in its place: a key above it may be what makes it a secret."""
    names = [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]
    document: Any = value
    for name in reversed(names):
        document = {name: document}
    masked = renderer.redact(document)
    for _ in names:
        if not isinstance(masked, Mapping):
            break
        masked = next(iter(masked.values()))
    return masked


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _warnings(
    arguments: Mapping[str, Any], shown: list[dict[str, Any]], manifest: ToolManifest
) -> list[dict[str, str]]:
    seen = _Seen()
    for name, value in arguments.items():
        seen.look(visible(name), value)
    masked = sum(argument["block"]["masked"] for argument in shown)
    large = [argument["name"] for argument in shown if argument["block"]["characters"] > _LARGE_CHARACTERS]
    escaped = "shown as ⟦U+…⟧:"
    found = [
        ("bidirectional", f"Characters that reorder text on screen, {escaped}", seen.bidirectional),
        *(("lookalike_host", host, None) for host in seen.hosts),
        ("invisible", f"Invisible characters, {escaped}", seen.invisible),
        ("mixed_scripts", "Words that mix letters of different alphabets:", seen.mixed),
        ("irreversible", _REVERSIBILITY[Reversibility.IRREVERSIBLE], _irreversible(manifest)),
        ("masked", f"Masked on this page (the tool gets the real values): {masked}.", None if masked else []),
        ("large", "Long text, to be read to its end:", large),
    ]
    return [{"kind": kind, "text": _sentence(text, names)} for kind, text, names in found if names != []]


def _irreversible(manifest: ToolManifest) -> list[str] | None:
    return None if manifest.reversibility is Reversibility.IRREVERSIBLE else []


def _sentence(text: str, names: list[str] | None) -> str:
    return text if names is None else f"{text} {', '.join(dict.fromkeys(names))}."
