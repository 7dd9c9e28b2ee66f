"""Handing in a job: what is taken, what is refused, and that nothing is half-stored."""

from __future__ import annotations

import pytest
from django.db import transaction

from agents import runs
from agents.errors import AgentDisabled, AgentError, AgentNotFound, BadIdempotencyKey, EmptyPrompt, PromptTooLong
from agents.models import Agent, Run
from agents.states import RunState
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from tests.runs.conftest import Bench
from traces.models import FeedEntry, Trace


def nothing_stored() -> bool:
    return not (Run.objects.exists() or Trace.objects.exists() or FeedEntry.objects.exists())


def test_the_same_form_sent_twice_is_one_run(bench: Bench) -> None:
    first = bench.submit("calculator {}", key="form-1")
    assert bench.submit("calculator {}", key="form-1").pk == first.pk
    assert bench.submit("calculator {}", key="form-2").pk != first.pk
    assert Run.objects.count() == Trace.objects.count() == 2
    assert bench.rung.count(first.pk) == 1


@pytest.mark.parametrize(
    ("prompt", "key", "error", "message"),
    [
        ("", "k", EmptyPrompt, "the prompt is empty"),
        (" \n\t ", "k", EmptyPrompt, "the prompt is empty"),
        ("x" * 1_000_001, "k", PromptTooLong, "1,000,001 characters long; at most 1,000,000"),
        ("hello", "", BadIdempotencyKey, "Reload the page"),
        ("hello", "k" * 65, BadIdempotencyKey, "Reload the page"),
    ],
)
def test_a_bad_form_is_refused_with_a_plain_message(
    bench: Bench, prompt: str, key: str, error: type[AgentError], message: str
) -> None:
    with pytest.raises(error, match=message), transaction.atomic():
        runs.submit(
            tenant_id=bench.cast.acme.pk,
            user=bench.cast.alice,
            agent_id=bench.agent.pk,
            prompt=prompt,
            idempotency_key=key,
            now=database_now(),
        )
    assert nothing_stored()


def test_the_longest_prompt_is_taken_whole(bench: Bench) -> None:
    prompt = "lorem ipsum " * 16_666
    run = bench.submit(prompt)
    assert unseal(bench.fresh(run).prompt_sealed) == prompt


def test_there_must_be_somebody_to_give_the_job_to(bench: Bench) -> None:
    other = Agent.objects.create(tenant=bench.cast.globex, name="Theirs")
    for agent_id in (other.pk, 999_999):
        with pytest.raises(AgentNotFound), transaction.atomic():
            runs.submit(
                tenant_id=bench.cast.acme.pk,
                user=bench.cast.alice,
                agent_id=agent_id,
                prompt="hello",
                idempotency_key="k",
                now=database_now(),
            )
    Agent.objects.filter(pk=bench.agent.pk).update(enabled=False)
    with pytest.raises(AgentDisabled, match="switched off"):
        bench.submit("hello")
    assert nothing_stored()


def test_only_members_who_may_submit_do(bench: Bench) -> None:
    with pytest.raises(NotAllowed):
        bench.submit("hello", user=bench.cast.rita)
    with pytest.raises(NotVisible):
        bench.submit("hello", user=bench.cast.carol)
    assert nothing_stored()


def test_the_prompt_is_stored_sealed_and_redacted(bench: Bench) -> None:
    run = bench.fresh(bench.submit("Write to zoe.miller@example.com"))
    assert "zoe.miller" not in run.prompt_redacted
    assert "zoe.miller" not in Trace.objects.get(pk=run.pk).prompt
    assert b"zoe.miller" not in bytes(run.prompt_sealed)
    assert unseal(run.prompt_sealed) == "Write to zoe.miller@example.com"


def test_a_prompt_with_what_databases_refuse_is_taken(bench: Bench) -> None:
    run = bench.go('calculator {"expression": "1+1"}\0 \ud800')
    assert run.state == RunState.SUCCEEDED
