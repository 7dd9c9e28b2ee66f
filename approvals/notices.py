"""Telling people and other systems: from the feed to rows, from rows to e-mails and webhooks. Never argument values.

Note [The feed is the outbox]: a gate's move writes a feed entry in its own transaction anyway, numbered without gaps.
So nothing is added to the moves themselves: one reader a tenant turns entries into `Notice` rows later, in a
transaction that also moves the reader on, and sends rows afterwards, outside of any transaction. A mail server or an
endpoint that is broken therefore holds up notices and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from approvals import mails, webhooks
from approvals.models import (
    ApprovalGate,
    Containment,
    Notice,
    NoticeEvent,
    NoticeReader,
    NoticeState,
    PersonalSettings,
    WebhookEndpoint,
)
from approvals.outbound import Answered
from approvals.quiet import QuietHours
from approvals.states import GateState
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.models import Membership, Tenant, User
from routekit_site.tenancy.roles import CAPABILITIES, Capability
from traces import live
from traces.kinds import FeedTopic

ENTRIES = 500
TAKEN_FOR = timedelta(minutes=2)
BUDGET = 10.0
MOST_ATTEMPTS = 8
GIVE_UP_AFTER = timedelta(days=2)
KEPT_FOR = timedelta(days=14)
# Seconds until the next attempt, by the number of failures in a row.
BACK_OFF = (10, 30, 120, 600, 1800, 7200, 21_600)
# A call that is decided at once is worth no e-mail, and a busy day is worth one every few minutes.
MAIL_AFTER = timedelta(seconds=30)
MAIL_EVERY = timedelta(minutes=5)
_SENT_AT_ONCE = 100
_GONE = 410
_EVENTS: dict[str, NoticeEvent] = {
    GateState.PENDING: NoticeEvent.WAITING,
    GateState.APPROVED: NoticeEvent.DECIDED,
    GateState.REJECTED: NoticeEvent.DECIDED,
    GateState.ANSWERED: NoticeEvent.DECIDED,
    GateState.EXPIRED: NoticeEvent.EXPIRED,
    GateState.WITHDRAWN: NoticeEvent.CLOSED,
    GateState.LAPSED: NoticeEvent.CLOSED,
}

# Events of a tool, not of a gate.
_OF_TOOLS = frozenset({NoticeEvent.CONTAINED, NoticeEvent.LIFTED})
_OF_OWN_JOBS = frozenset({NoticeEvent.DECIDED, NoticeEvent.EXPIRED})


def tell(clock: Callable[[], datetime]) -> int:
    """Read every tenant's news and send what is due; answers how many notices were delivered.

    One worker at a time has a tenant. A tenant whose endpoints are slow costs at most `BUDGET` seconds and one try.
    """
    return sum(_tell_tenant(tenant_id, clock) for tenant_id in _with_news(clock()))


def _with_news(now: datetime) -> list[int]:
    """Tenants whose feed has moved, or for which a notice is due, that no other worker has taken."""
    tenants = list(Tenant.objects.values_list("pk", flat=True))
    numbers = live.latest_numbers(tenants)
    readers = {reader.tenant_id: reader for reader in NoticeReader.objects.all()}
    due = set(Notice.objects.due(now).order_by().values_list("tenant_id", flat=True).distinct())
    for tenant_id in set(tenants) - set(readers):
        # From now on: what was before this site told anybody is no news.
        NoticeReader.objects.get_or_create(tenant_id=tenant_id, defaults={"feed_number": numbers.get(tenant_id, 0)})
    return [
        tenant_id
        for tenant_id, reader in readers.items()
        if tenant_id in due or numbers.get(tenant_id, 0) > reader.feed_number
    ]


def _tell_tenant(tenant_id: int, clock: Callable[[], datetime]) -> int:
    now = clock()
    free = NoticeReader.objects.filter(Q(taken_until=None) | Q(taken_until__lte=now), tenant_id=tenant_id)
    if free.update(taken_until=now + TAKEN_FOR) != 1:
        return 0
    try:
        while _read_on(tenant_id, now):
            pass
        until = time.monotonic() + BUDGET
        return _send_webhooks(tenant_id, clock, until) + _send_mails(tenant_id, clock, until)
    finally:
        NoticeReader.objects.filter(tenant_id=tenant_id).update(taken_until=None)


def _read_on(tenant_id: int, now: datetime) -> bool:
    """Turn the next entries of the feed into notices; answers whether there may be more."""
    with transaction.atomic(durable=True):
        reader = NoticeReader.objects.select_for_update().get(tenant_id=tenant_id)
        entries = live.next_entries(tenant_id, reader.feed_number, ENTRIES)
        if not entries:
            return False
        Notice.objects.bulk_create(_notices(tenant_id, entries, now))
        NoticeReader.objects.filter(tenant_id=tenant_id).update(feed_number=entries[-1]["number"])
    return len(entries) == ENTRIES


def _notices(tenant_id: int, entries: Sequence[dict[str, Any]], now: datetime) -> Iterator[Notice]:
    events = [(entry, event) for entry in entries if (event := _event_of(entry)) is not None]
    if not events:
        return
    endpoints = list(WebhookEndpoint.objects.filter(tenant_id=tenant_id, enabled=True))
    people = _people(tenant_id)
    if not endpoints and not people:
        return
    slug = Tenant.objects.values_list("slug", flat=True).get(pk=tenant_id)
    ids = [UUID(entry["id"]) for entry, event in events if event not in _OF_TOOLS]
    gates = ApprovalGate.objects.in_tenant(tenant_id).in_bulk(ids)
    for entry, event in events:
        gate = gates.get(UUID(entry["id"]))
        if gate is None and event not in _OF_TOOLS:
            continue
        when = {"at": datetime.fromisoformat(entry["at"]), "number": entry["number"]}
        facts = _tool_facts(entry, slug) if gate is None else _facts(gate, str(entry["facts"]["state"]), slug)
        notice = {"tenant_id": tenant_id, "event": event, "gate": gate, "facts": facts, **when}
        for endpoint in endpoints:
            if event in endpoint.events:
                yield Notice(endpoint=endpoint, next_at=max(now, when["at"]), **notice)
        for person in people:
            if person.wants(event, gate):
                yield Notice(person_id=person.wishes.user_id, next_at=person.next_mail(now), **notice)


def _event_of(entry: dict[str, Any]) -> NoticeEvent | None:
    """What an entry tells that nobody knows yet. A pending gate is news once, not at each vote or undo."""
    facts, topic = entry["facts"], entry["topic"]
    if topic == FeedTopic.CONTAINMENT:
        return NoticeEvent.CONTAINED if facts["state"] == "contained" else NoticeEvent.LIFTED
    if topic != FeedTopic.GATE:
        return None
    if facts["state"] == GateState.PENDING and facts.get("escalated"):
        return NoticeEvent.ESCALATED
    if facts["state"] == GateState.PENDING and facts.get("version") != 1:
        return None
    return _EVENTS.get(facts["state"])


def _tool_facts(entry: dict[str, Any], tenant: str) -> dict[str, Any]:
    """Of a tool that was taken out of use or given back. What it tried stands on the page behind the address."""
    told = entry["facts"]
    return {
        "tenant": tenant,
        "containment": entry["id"],
        "tool": told["tool"],
        "agent": told["agent"],
        "class": told["class"],
        "state": told["state"],
        "url": f"{settings.ROUTEKIT_SITE_URL}/admin/approvals/containment/{entry['id']}/change/",
    }


def _facts(gate: ApprovalGate, state: str, tenant: str) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "gate": str(gate.pk),
        "run": str(gate.run_id),
        "tool": gate.tool,
        "agent": gate.agent_name,
        "risk": gate.risk,
        "state": state,
        "url": f"{settings.ROUTEKIT_SITE_URL}/queue/{gate.pk}/",
    }


@dataclass(frozen=True)
class _Person:
    """A member who wants e-mails, with the role that they have now."""

    wishes: PersonalSettings
    role: str

    def wants(self, event: str, gate: ApprovalGate | None) -> bool:
        """Whether this person asked to be told of such an event, and it is one that they can do something about."""
        wishes = self.wishes
        if event == NoticeEvent.CONTAINED:
            return wishes.email_contained and _holds(self.role, Capability.MANAGE_POLICY)
        if gate is None:
            return False
        own = gate.requester_id == wishes.user_id
        if event in _OF_OWN_JOBS:
            return wishes.email_decided and own
        if not wishes.email_waiting or not may_decide(self.role, gate, own=own):
            return False
        # Whoever was asked from the start is not asked twice.
        return event == NoticeEvent.WAITING or (event == NoticeEvent.ESCALATED and self.role not in gate.approver_roles)

    def next_mail(self, now: datetime) -> datetime:
        """When the next e-mail may go out, quiet hours aside."""
        last = self.wishes.mailed_at
        return max(now + MAIL_AFTER, last + MAIL_EVERY) if last else now + MAIL_AFTER


def _people(tenant_id: int) -> list[_Person]:
    wanted = Q(email_waiting=True) | Q(email_decided=True) | Q(email_contained=True)
    active = PersonalSettings.objects.filter(wanted, user__is_active=True).exclude(user__email="")
    roles = dict(Membership.objects.filter(tenant_id=tenant_id).values_list("user_id", "role"))
    return [_Person(wishes, roles[wishes.user_id]) for wishes in active if wishes.user_id in roles]


def _holds(role: str, capability: Capability) -> bool:
    return any(role == each and capability in held for each, held in CAPABILITIES.items())


def may_decide(role: str, gate: ApprovalGate, *, own: bool) -> bool:
    """Whether somebody of this role is asked about a gate now; each decision asks again by itself."""
    able = _holds(role, Capability.DECIDE_GATE)
    return able and role in gate.deciding_roles and not (gate.four_eyes and own)


def quiet_hours(wishes: PersonalSettings) -> QuietHours | None:
    """The person's quiet hours, where they have any."""
    if wishes.quiet_from is None or wishes.quiet_to is None:
        return None
    return QuietHours(wishes.quiet_from, wishes.quiet_to, wishes.time_zone)


def _send_webhooks(tenant_id: int, clock: Callable[[], datetime], until: float) -> int:
    """Send each endpoint its notices in order, until one fails: then the endpoint rests."""
    sent = 0
    rested = Q(retry_at=None) | Q(retry_at__lte=clock())
    for endpoint in WebhookEndpoint.objects.filter(rested, tenant_id=tenant_id, enabled=True).order_by("pk"):
        for notice in Notice.objects.due(clock()).filter(endpoint=endpoint)[:_SENT_AT_ONCE]:
            if time.monotonic() > until:
                return sent
            if not _send_one(endpoint, notice, clock):
                break
            sent += 1
    return sent


def _send_one(endpoint: WebhookEndpoint, notice: Notice, clock: Callable[[], datetime]) -> bool:
    try:
        answer = webhooks.send(endpoint, notice, clock())
    except DecryptionFailed:
        return _failed(endpoint, notice, "the endpoint's secret can't be read; make a new one", clock())
    now = clock()
    if isinstance(answer, Answered) and 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's successes
        _settle([notice], NoticeState.DELIVERED, now, f"answered {answer.status}")
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failures=0, retry_at=None)
        return True
    if isinstance(answer, Answered) and answer.status == _GONE:
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(enabled=False)
        _settle([notice], NoticeState.GIVEN_UP, now, "answered 410: it wants no more, so the endpoint is switched off")
        return False
    return _failed(endpoint, notice, _words(answer), now)


def _words(answer: Any) -> str:
    if not isinstance(answer, Answered):
        return str(answer.problem)
    redirected = 300 <= answer.status < 400  # noqa: PLR2004 - HTTP's redirects
    return f"answered {answer.status}" + ("; redirects are not followed" if redirected else "")


def _failed(endpoint: WebhookEndpoint, notice: Notice, problem: str, now: datetime) -> bool:
    """Note a failure: the endpoint rests for longer each time, and a notice is given up after enough of them."""
    rest = timedelta(seconds=BACK_OFF[min(endpoint.failures, len(BACK_OFF) - 1)])
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(failures=F("failures") + 1, retry_at=now + rest)
    _try_again(notice, problem, now, rest)
    return False


def _try_again(notice: Notice, problem: str, now: datetime, rest: timedelta) -> None:
    """Put a notice off after a failure, or give it up after the last."""
    if notice.attempts + 1 >= MOST_ATTEMPTS or now - notice.at > GIVE_UP_AFTER:
        _settle([notice], NoticeState.GIVEN_UP, now, problem)
    else:
        unchanged = Notice.objects.filter(pk=notice.pk, state=NoticeState.WAITING, attempts=notice.attempts)
        unchanged.update(attempts=F("attempts") + 1, next_at=now + rest, last_problem=problem[:200])


def _settle(notices: Iterable[Notice], state: NoticeState, now: datetime, problem: str) -> None:
    waiting = Notice.objects.filter(pk__in=[notice.pk for notice in notices], state=NoticeState.WAITING)
    waiting.update(state=state, done_at=now, attempts=F("attempts") + 1, last_problem=problem[:200])


def _send_mails(tenant_id: int, clock: Callable[[], datetime], until: float) -> int:
    """One e-mail to each person for whom some are due, unless their quiet hours hold."""
    due = Notice.objects.due(clock()).filter(tenant_id=tenant_id, person__isnull=False)
    sent = 0
    for person_id in sorted(set(due.order_by().values_list("person_id", flat=True))):
        if time.monotonic() > until:
            break
        sent += _mail(tenant_id, person_id, clock())
    return sent


def _mail(tenant_id: int, person_id: int, now: datetime) -> int:
    """Send one person what waits for them, all of it, but for calls that wait no more."""
    waiting = Notice.objects.filter(tenant_id=tenant_id, person_id=person_id, state=NoticeState.WAITING)
    person = User.objects.get(pk=person_id)
    wishes = PersonalSettings.objects.filter(pk=person_id).first()
    membership = Membership.objects.filter(user_id=person_id, tenant_id=tenant_id).select_related("tenant").first()
    if wishes is None or membership is None or not person.is_active or not person.email:
        _settle(waiting, NoticeState.DROPPED, now, "nobody here wants it any more")
        return 0
    hours = quiet_hours(wishes)
    quiet_until = hours.over_at(now) if hours else None
    if quiet_until is not None:
        waiting.filter(next_at__lt=quiet_until).update(next_at=quiet_until)
        return 0
    found = list(waiting.select_related("gate").order_by("at", "number", "id"))
    stale = [each for each in found if _is_stale(each, _Person(wishes, membership.role))]
    _settle(stale, NoticeState.DROPPED, now, "settled meanwhile, or no longer wanted")
    fresh = [each for each in found if each not in stale]
    return _send_mail(person, wishes, membership.tenant.name, fresh, now) if fresh else 0


def _is_stale(notice: Notice, person: _Person) -> bool:
    """Whether there is nothing to do about it any more, or the person does not want to know any more."""
    if not person.wants(notice.event, notice.gate):
        return True
    if notice.event == NoticeEvent.CONTAINED:
        return not Containment.objects.in_force().filter(pk=notice.facts["containment"]).exists()
    waiting = notice.event in {NoticeEvent.WAITING, NoticeEvent.ESCALATED}
    return waiting and notice.gate is not None and notice.gate.state != GateState.PENDING


def _send_mail(person: User, wishes: PersonalSettings, tenant: str, notices: list[Notice], now: datetime) -> int:
    try:
        mails.compose(person, tenant, notices).send()
    except (SMTPException, OSError, ValueError) as error:
        for notice in notices:
            rest = timedelta(seconds=BACK_OFF[min(notice.attempts, len(BACK_OFF) - 1)])
            _try_again(notice, f"the mail server did not take it ({type(error).__name__})", now, rest)
        return 0
    _settle(notices, NoticeState.DELIVERED, now, "")
    PersonalSettings.objects.filter(pk=wishes.pk).update(mailed_at=now)
    return len(notices)


def send_test(endpoint: WebhookEndpoint, now: datetime) -> Notice:
    """A notice that tells nothing, for an admin who sets an endpoint up. Sent with the others, in a moment."""
    tenant = Tenant.objects.get(pk=endpoint.tenant_id)
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(retry_at=None)
    return Notice.objects.create(
        tenant=tenant, endpoint=endpoint, event=NoticeEvent.TEST, facts={"tenant": tenant.slug}, at=now, next_at=now
    )


def replay(notice: Notice, now: datetime) -> bool:
    """Send a notice once more, under the same id, so that a receiver knows it again; False where it waits already."""
    done = Notice.objects.filter(pk=notice.pk, endpoint__isnull=False).exclude(state=NoticeState.WAITING)
    changed = done.update(state=NoticeState.WAITING, done_at=None, attempts=0, next_at=now)
    WebhookEndpoint.objects.filter(notices=notice).update(retry_at=None)
    return changed == 1


def forget(now: datetime, limit: int = 5000) -> int:
    """Delete the oldest notices that were done with two weeks ago; answers how many."""
    old = Notice.objects.over_since(now - KEPT_FOR).values_list("pk", flat=True)[:limit]
    return Notice.objects.filter(pk__in=list(old)).delete()[0]
