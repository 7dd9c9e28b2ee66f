"""A job is handed in: checked, stored once, and its bell rung."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import IntegrityError

from agents import integrity, journal, queue
from agents.errors import (
    AgentDisabled,
    AgentError,
    AgentHalted,
    AgentNotFound,
    BadIdempotencyKey,
    EmptyPrompt,
    FormReused,
    PromptTooLong,
    SecretPasted,
)
from agents.models import Agent, Run
from agents.runs.access import check_submit
from agents.states import RunState
from agents.types import MAX_PROMPT_CHARACTERS
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.halts import halted, standing_for
from routekit_site.tenancy.models import User
from routekit_site.tenancy.statements import Query, insert, slot
from traces import recorder
from traces.gathering import gathered
from traces.pasted_secrets import refusal
from traces.redactors import note_version, redact, version_column

_MAX_KEY = 64

_AGENT = Query(
    lambda: (
        Agent.objects.in_tenant(slot("tenant"))
        .filter(id=slot("agent"))
        .annotate(halted=halted("id"), redaction=version_column("tenant_id"))
    )
)
_EARLIER = Query(lambda: Run.objects.filter(submitter_id=slot("user"), idempotency_key=slot("key")))


@gathered()
def submit(*, tenant_id: int, user: User, agent_id: int, prompt: str, idempotency_key: str, now: datetime) -> Run:
    """Store a job and wake a worker after the commit. The same person's same key is the same run, sent once.

    Needs an open transaction.

    Raises:
        NotVisible, NotAllowed: this person may not submit in this tenant.
        EmptyPrompt, PromptTooLong, BadIdempotencyKey: what was sent can't be taken.
        SecretPasted: the prompt holds what looks like a live key or password; a model must not see one.
        AgentNotFound, AgentDisabled: there is nobody to give the job to.
        AgentHalted: the kill switch is on, for this agent or more.
        FormReused: the key came with another job.
    """
    check_submit(user, tenant_id)
    _check_form(prompt, idempotency_key)
    agent = _AGENT.first(tenant=tenant_id, agent=agent_id)
    against = _against(agent)
    if agent is None or against is not None:
        # What was taken before stays taken, whatever has become of its agent.
        earlier = _earlier(user, idempotency_key)
        if earlier is None:
            raise against or AgentNotFound
        return earlier
    note_version(tenant_id, vars(agent)["redaction"])
    run = _new_run(agent, user, prompt, idempotency_key, now)
    if not insert([run], ignore_conflicts=True):
        # Sent once before: a moment ago (a double click), or long since.
        twin = _earlier(user, idempotency_key)
        if twin is None:
            raise IntegrityError("a new run's id is taken")
        if (twin.agent_id, twin.prompt_digest) != (run.agent_id, run.prompt_digest):
            raise FormReused
        return twin
    recorder.open_trace(
        tenant_id=tenant_id, run_id=run.id, agent_name=agent.name, submitter_id=user.pk, prompt=prompt, now=now
    )
    journal.announce(run, state=RunState.QUEUED, event=1, now=now)
    queue.wake(run.id)
    return run


def _against(agent: Agent | None) -> AgentError | None:
    """Why nothing new can be given to an agent; None where it can."""
    if agent is None:
        return AgentNotFound()
    if not agent.enabled:
        return AgentDisabled()
    return AgentHalted(_why_halted(agent)) if vars(agent)["halted"] else None


def _why_halted(agent: Agent) -> str:
    found = standing_for(agent.tenant_id, str(agent.pk))
    why = f" The reason given: {found.reason}" if found is not None else ""
    return f"The kill switch is on for this agent, so it takes no job.{why} Ask an admin of the tenant, or try later."


def _check_form(prompt: str, idempotency_key: str) -> None:
    if not prompt.strip():
        raise EmptyPrompt
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise PromptTooLong(
            f"The prompt is {len(prompt):,} characters long; at most {MAX_PROMPT_CHARACTERS:,} are taken. Shorten it, "
            "or put the text in a file of the agent and name the file."
        )
    if not 0 < len(idempotency_key) <= _MAX_KEY:
        raise BadIdempotencyKey
    if pasted := refusal(prompt, what="The prompt"):
        raise SecretPasted(pasted)


def _earlier(user: User, idempotency_key: str) -> Run | None:
    return _EARLIER.first(user=user.pk, key=idempotency_key)


def _new_run(agent: Agent, user: User, prompt: str, idempotency_key: str, now: datetime) -> Run:
    # Postgres stores no NUL; a lone surrogate has no UTF-8. Neither says anything to a model.
    clean = prompt.replace("\r\n", "\n").replace("\0", "").encode("utf-8", "replace").decode()
    run = Run(
        id=uuid.uuid4(),
        tenant_id=agent.tenant_id,
        agent=agent,
        agent_version=agent.version,
        submitter=user,
        idempotency_key=idempotency_key,
        prompt_sealed=seal(clean),
        prompt_redacted=redact(agent.tenant_id, clean),
        prompt_digest=integrity.digest_of(agent.tenant_id, clean),
        state=RunState.QUEUED,
        created_at=now,
        max_steps=agent.max_steps,
        max_tokens=agent.max_tokens,
        max_cost_microdollars=agent.max_cost_microdollars,
        time_limit_seconds=agent.time_limit_seconds,
    )
    run.mac = integrity.run_mac(run)
    return run
