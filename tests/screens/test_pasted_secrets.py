"""A live-looking key in a field is refused at the field and stored nowhere; in a prompt it is masked, and said."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from agents.models import Agent, Run
from approvals.models import ApprovalGate, Decision, ToolAllowance
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House
from traces.models import LedgerEntry
from traces.pasted_secrets import MESSAGE, holds_secret

ClientOf = Callable[[User], Client]


def key() -> str:
    """A key as a provider makes them, of this moment."""
    return "sk-proj-" + secrets.token_hex(24)


SECRETS: dict[str, Callable[[], str]] = {
    "openai": key,
    "github": lambda: "ghp_" + secrets.token_hex(18),
    "aws": lambda: "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)),
    "in an address": lambda: f"https://deploy:{secrets.token_hex(12)}@git.example.com/",
    "private key": lambda: f"-----BEGIN PRIVATE KEY-----\n{secrets.token_urlsafe(48)}\n-----END PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_recognised_and_plain_words_are_not(kind: str) -> None:
    secret = SECRETS[kind]()
    assert holds_secret(f"use {secret} please")
    assert holds_secret([{"deep": {"inside": secret}}])
    assert not holds_secret("Write a summary of notes.txt for mara.lind@example.org and keep the token budget at 4000.")


def agent_form(agent: Agent, **changed: Any) -> dict[str, Any]:
    fields = ("name", "description", "instructions", "provider", "model", "max_steps", "max_tokens")
    more = ("max_cost_microdollars", "time_limit_seconds", "input_price", "output_price")
    sent = {name: getattr(agent, name) for name in (*fields, *more)}
    return {**sent, "enabled": "on", "sandbox": "{}", "seen_version": agent.version, **changed}


@pytest.mark.parametrize("field", ["instructions", "description", "name", "model"])
def test_an_agents_fields(client_of: ClientOf, cast: Cast, agent: Agent, field: str) -> None:
    secret = key()
    page = client_of(cast.adam).post(
        f"/admin/agents/agent/{agent.pk}/change/", agent_form(agent, **{field: f"x {secret}"[:100]})
    )
    assert page.status_code == 200
    assert MESSAGE[:60] in page.text
    assert secret not in str(Agent.objects.values_list(field, flat=True))
    assert not LedgerEntry.objects.filter(facts__contains=secret).exists()


def test_an_allow_lists_constraints(client_of: ClientOf, cast: Cast) -> None:
    secret = key()
    constraint = [{"pointer": "/url", "kind": "exact", "value": f"https://a.example/?key={secret}"}]
    form = {"tenant": cast.acme.pk, "tool": "http_request", "mode": "ask", "constraints": json.dumps(constraint)}
    more = {"approvals_needed": 1, "reversibility": "", "decide_by_seconds": "", "execute_by_seconds": ""}
    page = client_of(cast.adam).post("/admin/approvals/toolallowance/add/", {**form, **more})
    assert MESSAGE[:60] in page.text
    assert not ToolAllowance.objects.exists()


@pytest.mark.parametrize("kind", ["approve", "reject"])
def test_a_reason(client_of: ClientOf, house: House, kind: str) -> None:
    gate, secret = house.open().gate, key()
    sent = {"kind": kind, "digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": uuid.uuid4().hex}
    answer = client_of(house.cast.rita).post(
        f"/queue/{gate.pk}/decide/", {**sent, "reason": secret}, headers={"accept": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["error"] == MESSAGE
    assert not Decision.objects.exists()
    assert ApprovalGate.objects.get(pk=gate.pk).state == "pending"


def test_a_prompt_is_taken_masked_and_the_person_told(client_of: ClientOf, cast: Cast, agent: Agent) -> None:
    secret = key()
    client = client_of(cast.alice)
    form = {"agent": agent.pk, "prompt": f"read notes.txt with {secret}", "idempotency_key": uuid.uuid4().hex}
    page = client.post("/jobs/new/", form, follow=True)
    assert "The prompt held what looks like a live key" in page.text
    assert secret not in page.text
    assert secret not in Run.objects.get().prompt_redacted
