"""The invariants of docs/reference/faults.md, over all rows and over the journal of effects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]

# I1: a gate has the decisions that its state says, never a second one.
_DECISIONS = """
SELECT g.id, g.state, g.approvals_needed,
       count(d.id) FILTER (WHERE d.undone_at IS NULL AND d.kind = 'approve'),
       count(d.id) FILTER (WHERE d.undone_at IS NULL AND d.kind = 'reject')
FROM approvals_approvalgate g LEFT JOIN approvals_decision d ON d.gate_id = g.id GROUP BY g.id
"""
# I2: what ran had been approved: a call with an effect has a spent gate of its own run and call.
_CALLS = """
SELECT c.id, c.run_id, c.tool, c.state, c.attempts, c.outcome, g.state, g.run_id = c.run_id AND g.call_id = c.id::text,
       (SELECT count(*) FROM approvals_approvalgate s WHERE s.call_id = c.id::text AND s.state = 'spent'),
       c.arguments_redacted ->> 'key'
FROM agents_toolcall c LEFT JOIN approvals_approvalgate g ON g.id = c.gate_id
"""
# I3: no run sleeps on gates that are all decided.
_ASLEEP = """
SELECT r.id FROM agents_run r WHERE r.state = 'waiting' AND NOT EXISTS (
  SELECT 1 FROM agents_toolcall c JOIN approvals_approvalgate g ON g.id = c.gate_id
  WHERE c.run_id = r.id AND c.state IN ('gated', 'unknown') AND g.state = 'pending')
"""
# I4: numbers 1 to n, the head at n, and the head's state that of the run.
_TRACES = """
SELECT t.run_id, t.last_number, count(e.number), max(e.number), t.state, r.state
FROM traces_trace t JOIN agents_run r ON r.id = t.run_id LEFT JOIN traces_traceevent e ON e.trace_id = t.run_id
GROUP BY t.run_id, r.state
HAVING t.last_number <> count(e.number) OR t.last_number <> max(e.number) OR t.state <> r.state
"""
# I5: claims under growing fences, the last one the run's own.
_FENCES = """
SELECT r.id, r.fence, array_agg((e.payload ->> 'fence')::int ORDER BY e.number)
FROM agents_run r JOIN traces_traceevent e ON e.trace_id = r.id AND e.kind IN ('run.started', 'run.resumed')
GROUP BY r.id
"""
# I6: whatever is not over waits for a person.
_STUCK = "SELECT id, state FROM agents_run WHERE state IN ('queued', 'running')"
# I7 as far as rows go: the feed has no gap, so a page that follows it misses nothing.
_FEED = """
SELECT h.tenant_id, h.feed_number, count(f.number), max(f.number) FROM traces_tenanthead h
JOIN traces_feedentry f ON f.tenant_id = h.tenant_id GROUP BY h.tenant_id
HAVING h.feed_number <> count(f.number) OR h.feed_number <> max(f.number)
"""
# I10: every decision stands in the ledger.
_UNRECORDED = """
SELECT d.id FROM approvals_decision d WHERE NOT EXISTS (
  SELECT 1 FROM traces_ledgerentry l WHERE l.kind = 'decision' AND l.facts LIKE '%' || d.id::text || '%')
"""


def broken(database_url: str, journal: Path, acknowledged: dict[str, str]) -> list[str]:
    """One sentence for each invariant that does not hold. Call it when nothing moves any more.

    Args:
        database_url: the site's database, past any proxy.
        journal: the file in which the tools leave their effects.
        acknowledged: the decisions that were answered with 200, by gate.
    """
    with psycopg.connect(database_url, connect_timeout=10) as database:

        def ask(sql: str) -> Rows:
            return database.execute(sql).fetchall()

        return [
            *_decisions(ask),
            *_effects(ask, journal),
            *(f"I3: run {run} sleeps although every gate of it is decided" for (run,) in ask(_ASLEEP)),
            *(f"I4: trace {row}" for row in ask(_TRACES)),
            *_fences(ask),
            *(f"I6: run {run} is stuck in {state}" for run, state in ask(_STUCK)),
            *(f"I7: feed {row}" for row in ask(_FEED)),
            *_lost(ask, acknowledged),
            *(f"I10: decision {decision} is not in the ledger" for (decision,) in ask(_UNRECORDED)),
        ]


def _decisions(ask: Ask) -> list[str]:
    found = []
    for gate, state, needed, approvals, rejections in ask(_DECISIONS):
        expected = {
            "pending": approvals < needed and not rejections,
            "approved": approvals == needed and not rejections,
            "spent": approvals == needed and not rejections,
            "lapsed": approvals == needed and not rejections,
            "rejected": rejections == 1,
        }
        if not expected.get(state, not rejections):
            found.append(f"I1: gate {gate} is {state} with {approvals} of {needed} approvals, {rejections} rejections")
    return found


def effects(journal: Path) -> Counter[tuple[str, str]]:
    """How often each (tool, key) took effect."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    return Counter((entry["tool"], entry["key"]) for entry in map(json.loads, lines))


def _effects(ask: Ask, journal: Path) -> list[str]:
    counted, found = effects(journal), []
    known: dict[str, Any] = {}
    for call, run, tool, state, attempts, outcome, gate, own, spent, key in ask(_CALLS):
        known[key] = call
        times = counted[tool, key]
        if times and (not own or not spent):
            found.append(f"I2: call {call} of run {run} took effect and its gate is {gate}, {spent} spent")
        if times > spent and tool == "effect":
            found.append(f"I2: call {call} took effect {times} times under {spent} spent approvals")
        if tool == "effect" and times > 1:
            found.append(f"I2: {key} took effect {times} times")
        if state == "succeeded" and times < 1:
            found.append(f"I2: call {call} succeeded ({outcome}, {attempts} attempts) without an effect")
    return found + [f"I2: {key} took effect and no call knows it" for _, key in counted if key not in known]


def _fences(ask: Ask) -> list[str]:
    return [
        f"I5: run {run} has fence {fence} after claims under {fences}"
        for run, fence, fences in ask(_FENCES)
        if fences != sorted(set(fences)) or fences[-1] != fence
    ]


def _lost(ask: Ask, acknowledged: dict[str, str]) -> list[str]:
    stored = {str(gate): kind for gate, kind in ask("SELECT gate_id, kind FROM approvals_decision")}
    return [
        f"I8: {kind} of gate {gate} was acknowledged and is {stored.get(gate)}"
        for gate, kind in acknowledged.items()
        if stored.get(gate) != kind
    ]
