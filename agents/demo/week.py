"""Plays the stories through the real engine, in the order in which they happened, under a clock that is in the past.

`time_machine` moves the clock of this process alone: sandboxed children, timeouts and the rest of the machine keep
theirs. Refused outside demo mode: a clock that can be moved would be a way around every deadline.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

import time_machine
from django.conf import settings
from django.db import transaction

from agents import runs
from agents.demo.stories import PAGE, WAITING, WEEK, Answer, Choice, Story
from agents.errors import AgentError
from agents.models import Agent, Run, ToolCall
from agents.states import RUN_FINISHED
from approvals import gates, rules
from approvals.models import ApprovalGate
from approvals.states import GateState
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User

_WORKER = "demo"
_SHORTLY = timedelta(seconds=1)


class NotInDemoMode(AgentError):
    """The demo's week is made in demo mode only, in a database of its own."""


def play(agent: Agent, page: str, now: datetime) -> int:
    """Make the week that ended at `now`; how many jobs it had.

    Raises:
        NotInDemoMode: this is a real installation.
    """
    if not settings.DEMO or settings.REDIS_URL:
        raise NotInDemoMode
    people = {user.get_username(): user for user in User.objects.filter(memberships__tenant_id=agent.tenant_id)}
    plots = [(_began(story, now), _plot(story, agent, page, people)) for story in (*WEEK, *WAITING)]
    numbers = itertools.count()
    due = [(moment, next(numbers), plot) for moment, plot in plots if moment < now]
    jobs = len(due)
    heapq.heapify(due)
    while due:
        moment, _, plot = heapq.heappop(due)
        # What would have happened after now has not happened yet.
        following = _at(moment, plot) if moment < now else None
        if following is not None:
            heapq.heappush(due, (following, next(numbers), plot))
    return jobs


def _began(story: Story, now: datetime) -> datetime:
    if story in WAITING:
        return now - timedelta(minutes=int(story.time))
    hour, minute = map(int, story.time.split(":"))
    return (now - timedelta(days=story.days_ago)).replace(hour=hour, minute=minute, second=7, microsecond=0)


def _at(moment: datetime, plot: Iterator[datetime]) -> datetime | None:
    """Go on with a plot at a moment; when it wants to go on again, None at its end."""
    with time_machine.travel(moment):
        return next(plot, None)


def _plot(story: Story, agent: Agent, page: str, people: dict[str, User]) -> Iterator[datetime]:
    """One job from its submission to its end; yields each moment at which something happens next."""
    run = _submit(story, agent, page, people[story.submitter])
    choices = iter(story.choices)
    yield database_now() + _SHORTLY
    while True:
        runs.advance(run.pk, worker=_WORKER)
        waiting = _waiting(run)
        if not waiting:
            return
        for gate in waiting:
            choice = next(choices, Choice(Answer.APPROVE))
            if choice.answer is Answer.LEAVE:
                return
            yield gate.opened_at + choice.after if choice.answer is not Answer.EXPIRE else gate.decide_by + _SHORTLY
            _answer(gate, choice, people)
        yield _released(waiting)


def _submit(story: Story, agent: Agent, page: str, person: User) -> Run:
    with transaction.atomic(durable=True):
        return runs.submit(
            tenant_id=agent.tenant_id,
            user=person,
            agent_id=agent.pk,
            prompt=story.prompt.replace(PAGE, page),
            idempotency_key=uuid.uuid4().hex,
            now=database_now(),
        )


def _waiting(run: Run) -> list[ApprovalGate]:
    run.refresh_from_db()
    calls = ToolCall.objects.filter(run=run).select_related("gate").in_order()
    pending = [call.gate for call in calls if call.gate is not None and call.gate.state == GateState.PENDING]
    return [] if run.state in RUN_FINISHED else pending


def _released(decided: list[ApprovalGate]) -> datetime:
    """When nobody can undo any more what was decided."""
    holds = [gate.hold_until for gate in ApprovalGate.objects.filter(pk__in=[gate.pk for gate in decided])]
    return max([database_now(), *(hold for hold in holds if hold is not None)]) + _SHORTLY


def _answer(gate: ApprovalGate, choice: Choice, people: dict[str, User]) -> None:
    now, person = database_now(), people[choice.by]
    with transaction.atomic(durable=True):
        match choice.answer:
            case Answer.EXPIRE:
                gates.expire(now)
            case Answer.CANCEL:
                runs.cancel(gate.run_id, person, now=now)
            case _:
                kind: Literal["approve", "reject"] = "reject" if choice.answer is Answer.REJECT else "approve"
                ballot = gates.Ballot(kind, gate.digest, gate.view_digest, uuid.uuid4().hex, choice.reason)
                gates.decide(gate.pk, person, ballot, now=now)
        if choice.answer is Answer.REMEMBER:
            week = rules.RuleChoice(reach=rules.Reach.SIMILAR, ttl=timedelta(days=7), max_uses=50)
            rules.make_rule(gate.pk, person, week, now=now)


@contextmanager
def page_served(address: str, text: str) -> Iterator[None]:
    """Serve the page that the agents fetch while the week is made; where the port is taken, what is there answers.

    Every other address says that the site is starting (503): whoever waits for it is not misled.
    """
    place = urlsplit(address)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text.encode() if self.path == place.path else b"The site is starting.\n"
            self.send_response(200 if self.path == place.path else 503)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - as above

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    try:
        server = ThreadingHTTPServer((place.hostname or "", place.port or 80), Page)
    except OSError:
        yield
        return
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
