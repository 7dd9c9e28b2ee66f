"""A live-looking key that a person types is refused at its field and stored nowhere; its kind is named."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from agents import runs
from agents.errors import SecretPasted
from agents.models import Agent, Run
from approvals import halting
from approvals.errors import BadHalt
from approvals.halting import Target
from approvals.models import ApprovalGate, Decision, Remark, SavedFilter, ToolAllowance
from routekit_site.tenancy.models import Halt, User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House
from traces.models import LedgerEntry
from traces.pasted_secrets import holds_secret, refusal, without_secrets

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

KINDS = {
    "openai": "a key for a model's API",
    "github": "a GitHub token",
    "aws": "an AWS access key",
    "in an address": "a password in an address",
    "private key": "a private key",
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
    assert "holds what looks like a key for a model&#x27;s API" in page.text
    assert secret not in str(Agent.objects.values_list(field, flat=True))
    assert not LedgerEntry.objects.filter(facts__contains=secret).exists()


def test_an_allow_lists_constraints(client_of: ClientOf, cast: Cast) -> None:
    secret = key()
    constraint = [{"pointer": "/url", "kind": "exact", "value": f"https://a.example/?key={secret}"}]
    form = {"tenant": cast.acme.pk, "tool": "http_request", "mode": "ask", "constraints": json.dumps(constraint)}
    more = {"approvals_needed": 1, "reversibility": "", "decide_by_seconds": "", "execute_by_seconds": ""}
    page = client_of(cast.adam).post("/admin/approvals/toolallowance/add/", {**form, **more})
    assert "holds what looks like a key for a model&#x27;s API" in page.text
    assert not ToolAllowance.objects.exists()


@pytest.mark.parametrize("kind", ["approve", "reject"])
def test_a_reason(client_of: ClientOf, house: House, kind: str) -> None:
    gate, secret = house.open().gate, key()
    sent = {"kind": kind, "digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": uuid.uuid4().hex}
    answer = client_of(house.cast.rita).post(
        f"/queue/{gate.pk}/decide/", {**sent, "reason": secret}, headers={"accept": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("The reason holds what looks like a key for a model's API")
    assert not Decision.objects.exists()
    assert ApprovalGate.objects.get(pk=gate.pk).state == "pending"


def new_job(agent: Agent, prompt: str) -> dict[str, Any]:
    return {"agent": agent.pk, "prompt": prompt, "idempotency_key": uuid.uuid4().hex}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_prompt_is_refused_at_its_field_with_the_kind_named_and_the_rest_kept(
    client_of: ClientOf, cast: Cast, agent: Agent, kind: str
) -> None:
    secret = SECRETS[kind]()
    page = client_of(cast.alice).post("/jobs/new/", new_job(agent, f"read notes.txt <with> {secret} now"))
    text = unescape(page.text)
    assert page.status_code == 422
    said = re.search(r'id="prompt-error" role="alert">(.*?)</p>', text)
    assert said is not None
    assert said[1].startswith(f"The prompt holds what looks like {KINDS[kind]}, so nothing of it was stored.")
    assert "*_FILE" in said[1]
    assert secret not in text
    assert "read notes.txt <with> " in text
    assert " now</textarea>" in text
    assert not Run.objects.exists()


def test_a_prompt_with_an_address_and_a_number_is_taken_and_masked(
    client_of: ClientOf, cast: Cast, agent: Agent
) -> None:
    prompt = "write to mara.lind@example.org or +49 30 1234567; the key is [OPENAI_KEY], the password: [GENERIC_SECRET]"
    page = client_of(cast.alice).post("/jobs/new/", new_job(agent, prompt), follow=True)
    assert page.status_code == 200
    assert "mara.lind" not in page.text
    assert "mara.lind" not in Run.objects.get().prompt_redacted


def test_a_prompt_is_refused_below_every_door(cast: Cast, agent: Agent) -> None:
    sent: dict[str, Any] = {"tenant_id": cast.acme.pk, "user": cast.alice, "agent_id": agent.pk, "idempotency_key": "k"}
    with pytest.raises(SecretPasted, match="a GitHub token"), transaction.atomic():
        runs.submit(**sent, prompt=f"clone with {SECRETS['github']()}", now=timezone.now())
    assert not Run.objects.exists()


def test_an_answer_in_a_tools_place(client_of: ClientOf, house: House) -> None:
    gate, secret = house.open().gate, key()
    sent = {"kind": "respond", "digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": "k"}
    page = client_of(house.cast.rita).post(f"/queue/{gate.pk}/decide/", {**sent, "answer": f"Use {secret} here"})
    assert page.status_code == 422
    assert "The answer holds what looks like" in page.text
    assert secret not in page.text
    assert "Use [OPENAI_KEY] here</textarea>" in page.text
    assert not Decision.objects.exists()


def test_a_question_about_a_call(client_of: ClientOf, house: House) -> None:
    gate, secret = house.open().gate, key()
    sent = {"words": f"Is it {secret}?", "idempotency_key": "k"}
    page = client_of(house.cast.rita).post(f"/queue/{gate.pk}/say/question/", sent)
    assert page.status_code == 422
    assert "holds what looks like" in page.text
    assert secret not in page.text
    assert "Is it [OPENAI_KEY]?</textarea>" in page.text
    assert not Remark.objects.exists()


def test_a_saved_filter(client_of: ClientOf, cast: Cast) -> None:
    sent = {"name": "mine", "q": key()}
    answer = client_of(cast.rita).post("/queue/filters/", sent, headers={"accept": "application/json"})
    assert answer.status_code == 422
    assert "The filter holds" in answer.json()["error"]
    assert not SavedFilter.objects.exists()


def test_a_halt(cast: Cast) -> None:
    with pytest.raises(BadHalt, match="The reason holds"), transaction.atomic():
        halting.halt(Target(cast.acme), by="adam", reason=f"leaked {key()}", now=timezone.now())
    assert not Halt.objects.exists()


def test_what_the_person_was_shown_is_no_new_secret() -> None:
    shown = f"password: {key()}"
    assert refusal(f"{shown} more", known=shown) == ""
    assert "a GitHub token" in refusal(f"{shown} {SECRETS['github']()}", known=shown)


@pytest.mark.parametrize("kind", SECRETS)
def test_a_text_without_its_secrets_is_taken(kind: str) -> None:
    secret = SECRETS[kind]()
    clean = without_secrets(f"first {secret} and {secret} last")
    assert secret not in clean
    assert clean.startswith("first ")
    assert refusal(clean) == ""
