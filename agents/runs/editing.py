"""A reviewer changes the arguments of a call that waits. An edit approves nothing: the edited call is asked about anew.

What is masked stays masked: the form shows placeholders (`approvals.masking`), and the raw values are put back here.
The edited arguments are validated by the tool's model and judged by the policy of now; then, in one transaction, the
old gate is closed, a gate for the edited call is opened, and the call's arguments are replaced. Whoever approves sees
the edit as a difference, and the model is told of it with the call's result (`turn.words_for_edited`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents import integrity, journal
from agents.errors import NotEditable
from agents.models import Run, ToolCall
from agents.runs.case import Case, open_case
from agents.states import CallState
from agents.tools import registry
from approvals import gates, manifests
from approvals.binding import edit_of
from approvals.canonical import canonical
from approvals.errors import BadEdit, KeyReused, NotCanonical, Tampered, UnknownTool
from approvals.gates import GateRequest
from approvals.manifests import ToolManifest
from approvals.masking import Masked, check_hidden, escaped, mask, starred, unescaped, unmask
from approvals.models import ApprovalGate
from approvals.presentation import redacted_change, renderer_of
from approvals.rendering import Renderer, visible
from approvals.types import Amendment, Deny, NeedsApproval
from routekit_site.tenancy.encryption import fingerprint, seal, unseal
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.models import User
from traces.kinds import EventKind
from traces.pasted_secrets import refusal
from traces.redactors import redact

_MOST_ROWS = 20
_WIDTH = 80


@dataclass(frozen=True)
class Field:
    """One argument in the editor: `text` is what a text field holds; `is_text` says that it is no JSON."""

    name: str
    text: str
    is_text: bool
    rows: int


@dataclass(frozen=True)
class Draft:
    """A call that can be edited. `arguments` are raw; only `fields` are fit for a browser."""

    gate: ApprovalGate
    call: ToolCall
    run: Run
    manifest: ToolManifest
    arguments: dict[str, Any]
    masked: Masked
    renderer: Renderer

    def fields(self) -> list[Field]:
        """The editor's fields, in the order in which arguments are shown."""
        return [_field(name, value, self.arguments[name]) for name, value in self.masked.values.items()]


@dataclass(frozen=True)
class Revision:
    """An edited call that policy lets somebody be asked about, ready to be stored."""

    draft: Draft
    editor: User
    amendment: Amendment
    arguments: dict[str, Any]
    request: GateRequest
    rule: str
    level: str


def open_draft(gate: ApprovalGate) -> Draft:
    """The call of a gate as a reviewer may edit it.

    Raises:
        NotEditable: nobody waits for it any more, it may have taken effect already, or its tool is not installed.
        Tampered: its stored arguments can't be read.
    """
    call = ToolCall.objects.filter(gate_id=gate.pk).first()
    if call is None or call.state != CallState.GATED:
        raise NotEditable
    try:
        manifest = manifests.get(call.tool)
    except UnknownTool as error:
        raise NotEditable(str(error)) from error
    try:
        arguments = unseal(gate.arguments_sealed)
    except DecryptionFailed as error:
        raise Tampered from error
    run = Run.objects.select_related("agent", "submitter").get(pk=call.run_id)
    renderer = renderer_of(gate.tenant_id)
    return Draft(gate, call, run, manifest, arguments, mask(renderer, arguments), renderer)


def amendment_of(gate: ApprovalGate, sent: Mapping[str, str], texts: Mapping[str, str]) -> Amendment:
    """What came with an edit; `sent` has digest, view_digest, idempotency_key and reason."""
    everything = json.dumps([str(gate.pk), dict(sent), dict(texts)], sort_keys=True).encode()
    return Amendment(**sent, fingerprint=fingerprint(gate.tenant_id, everything))


def earlier_edit(gate: ApprovalGate, user: User, amendment: Amendment) -> ApprovalGate | None:
    """The gate that this very edit has opened before.

    Raises:
        KeyReused: the key came with another edit.
    """
    found = ApprovalGate.objects.filter(edited_by=user, edit_key=amendment.idempotency_key).first()
    if found is not None and (found.reopens_id, found.edit_fingerprint) != (gate.pk, amendment.fingerprint):
        raise KeyReused
    return found


def revise(draft: Draft, user: User, amendment: Amendment, texts: Mapping[str, str], *, now: datetime) -> Revision:
    """Check an edit and prepare what asks about it. Reads files and asks policy's callback: not in a transaction.

    Raises:
        BadEdit: the arguments are not what the tool takes, a live key or password was typed into them, a placeholder is
            misused, or policy denies the call.
        NotPresentable: the edited call can't be shown.
    """
    arguments = _arguments(draft, texts)
    case = open_case(draft.run, now)
    verdict = _verdict(case, draft, arguments)
    editor, reason = visible(user.display_name), str(redact(draft.gate.tenant_id, amendment.reason))
    edit = edit_of(editor, visible(reason), draft.arguments, arguments)
    request = case.gate_request(
        draft.call.id,
        draft.manifest,
        arguments,
        verdict,
        reopens=draft.gate.pk,
        change=redacted_change(draft.gate.tenant_id, edit),
    )
    _check_view(draft, request)
    return Revision(draft, user, amendment, arguments, request, verdict.rule, verdict.level.value)


def replace(revision: Revision, *, now: datetime) -> ApprovalGate:
    """Close the old gate, open the new one and put the edited arguments into the call. Needs an open transaction.

    Raises:
        NotEditable: the call or its run has moved on.
        Anything that `gates.supersede` raises: the edit comes too late, was made on another view, or is not theirs.
    """
    draft, call = revision.draft, revision.draft.call
    run = Run.objects.select_for_update(of=("self",)).get(pk=draft.run.pk)
    gate = gates.supersede(draft.gate.pk, revision.editor, revision.amendment, revision.request, now=now)
    if run.cancel_requested_at is not None:
        raise NotEditable
    tenant = run.tenant_id
    waiting = ToolCall.objects.filter(pk=call.pk, state=CallState.GATED, gate_id=draft.gate.pk)
    digest = fingerprint(tenant, canonical(revision.arguments))
    changed = waiting.update(
        gate=gate,
        arguments_sealed=seal(revision.arguments),
        arguments_redacted=redact(tenant, revision.arguments),
        arguments_digest=digest,
        mac=integrity.call_mac(call, {"gate_id": gate.pk, "arguments_digest": digest}),
        proposed_sealed=call.proposed_sealed if call.proposed_sealed is not None else seal(draft.arguments),
        edited_at=now,
        edited_by=revision.editor,
        rule=revision.rule[:200],
        level=revision.level,
    )
    if changed != 1:
        raise NotEditable
    _tell(run, call, gate, revision, now)
    return gate


def _tell(run: Run, call: ToolCall, gate: ApprovalGate, revision: Revision, now: datetime) -> None:
    names = [name for name, value in revision.arguments.items() if revision.draft.arguments.get(name) != value]
    said = {"tool": call.tool, "edited": names, "arguments": revision.arguments, "reason": revision.amendment.reason}
    actor = revision.editor.get_username()
    event = journal.note(run.id, EventKind.NOTE, said, now=now, call=call, gate_id=gate.pk, actor=actor)
    journal.announce(run, state=run.state, event=event, now=now)


def _arguments(draft: Draft, texts: Mapping[str, str]) -> dict[str, Any]:
    """The edited arguments as they would run: raw values back in place, validated by the tool's model."""
    edited = {field.name: _parsed(draft, field, texts) for field in draft.fields()}
    if unknown := sorted({*texts} - {*edited}):
        raise BadEdit(f'The call has no argument "{unknown[0][:100]}". Reload the page and edit it again.')
    values, kept = unmask(draft.masked, edited)
    tool = registry.tool_named(draft.manifest.name)
    if tool is None:
        raise BadEdit("The tool is not installed here, so its arguments can't be checked.")
    for name, problem in registry.problems_of(tool, values).items():
        raise BadEdit(_without_raw(draft, problem), name if name in edited else "")
    arguments = registry.canonical_arguments(tool, values)
    try:
        same = canonical(arguments) == canonical(draft.arguments)
    except NotCanonical as error:
        raise BadEdit(_without_raw(draft, str(error))) from None
    if same:
        raise BadEdit("Nothing was changed. Approve the call as it is, or change something.")
    check_hidden(draft.renderer, draft.masked, arguments, kept)
    return arguments


def _parsed(draft: Draft, field: Field, texts: Mapping[str, str]) -> Any:
    """One field as it was sent. A browser sends every line break as CR LF; an untouched field is exactly as it was.

    What a page would not show stands as an escape in the field, and is the character again here.
    """
    if field.name not in texts:
        raise BadEdit("This argument is missing. Reload the page and edit the call again.", field.name)
    text, shown = _lines(texts[field.name]), _lines(field.text)
    if text == shown:
        return draft.masked.values[field.name]
    text, shown = unescaped(text), unescaped(shown)
    if pasted := refusal({field.name: starred(text)}, what="The argument", known=shown):
        raise BadEdit(pasted, field.name)
    if field.is_text:
        return text
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        raise BadEdit("This is not valid JSON.", field.name) from None


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _refuse_constant(_text: str) -> None:
    raise ValueError


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _verdict(case: Case, draft: Draft, arguments: Mapping[str, Any]) -> NeedsApproval:
    """What policy says of the edited call. Where it would let it run, a person is asked all the same."""
    verdict = case.verdict(case.call_facts(draft.manifest, arguments))
    if isinstance(verdict, Deny):
        raise BadEdit(f"Policy does not allow the edited call: {verdict.reason}")
    reason = "A reviewer edited the arguments, so a person approves what runs."
    return case.asked_again(draft.manifest.name, verdict, draft.gate, reason)


def _check_view(draft: Draft, request: GateRequest) -> None:
    """A last look: nothing that was masked in the old view is to be read in the new one."""
    old, new = (json.dumps(data, ensure_ascii=False) for data in (draft.gate.presentation, request.presentation.data))
    for placeholder, found in draft.masked.masks.items():
        raw = json.dumps(found.raw, ensure_ascii=False)
        raw = raw[1:-1] if isinstance(found.raw, str) else raw
        if raw and raw in new and raw not in old:
            raise BadEdit(f"With this edit the value of {placeholder} would be shown. Take the placeholder out.")


def _without_raw(draft: Draft, problem: str) -> str:
    """A message of a tool's model, which may quote what it was given."""
    for placeholder, found in draft.masked.masks.items():
        if isinstance(found.raw, str) and found.raw:
            problem = problem.replace(found.raw, placeholder)
    return str(redact(draft.gate.tenant_id, problem))


def _field(name: str, shown: Any, raw: Any) -> Field:
    is_text = isinstance(raw, str)
    text = escaped(str(shown) if is_text else json.dumps(shown, indent=2, ensure_ascii=False))
    rows = sum(1 + len(line) // _WIDTH for line in text.split("\n"))
    return Field(name, text, is_text, min(rows, _MOST_ROWS))
