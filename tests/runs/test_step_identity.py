"""AISVS 9.4.2: each step is bound to the agent that took it, where nobody can change it unnoticed."""

from __future__ import annotations

import pytest
from django.db import connection

from agents.models import Agent
from tests.runs.conftest import Bench
from traces import ledger
from traces.kinds import LedgerKind
from traces.models import LedgerEntry, Trace


def test_every_execution_names_the_agent_and_its_version_in_the_chain(bench: Bench) -> None:
    Agent.objects.update(version=7)
    run = bench.approve_all(
        bench.submit('calculator {"expression": "1 + 1"}\nwrite_file {"path": "a.txt", "text": "x"}')
    )
    entries = list(LedgerEntry.objects.filter(kind=LedgerKind.EXECUTION))
    assert len(entries) == 2
    for entry in entries:
        facts = ledger.facts_of(entry)
        assert (facts["run"], facts["agent"], facts["agent_version"]) == (str(run.id), run.agent_id, 7)
    assert Trace.objects.get(pk=run.id).agent_name == bench.agent.name


@pytest.mark.parametrize("key", ["agent", "agent_version"])
def test_another_agent_in_its_place_is_noticed(bench: Bench, key: str) -> None:
    bench.approve_all(bench.submit('calculator {"expression": "1 + 1"}'))
    entry = LedgerEntry.objects.get(kind=LedgerKind.EXECUTION)
    facts = ledger.facts_of(entry) | {key: 99}
    with connection.cursor() as cursor:
        cursor.execute("UPDATE traces_ledgerentry SET facts = %s WHERE id = %s", [ledger.canonical(facts), entry.pk])
    assert [(fault.number, fault.kind) for fault in ledger.verify(entry.tenant_id)] == [(entry.number, "changed")]
