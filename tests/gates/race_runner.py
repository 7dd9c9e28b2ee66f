"""Runs races for gates, with threads and real commits: `python -m tests.gates.race_runner NAME=ROUNDS ...`.

The database is the one of the environment. Prints one JSON object: by race and round, the outcomes of all sides and
what the database holds afterwards.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import django
from django.conf import settings

# Nobody signs in by a password here, and a good hash takes as long as six races.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
django.setup()

from django.db import connection, transaction  # noqa: E402 - after the set-up
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from approvals import claims, gates, remarks, reveals, rules  # noqa: E402
from approvals.binding import change_of, difference  # noqa: E402
from approvals.errors import AlreadyDecided, ApprovalError  # noqa: E402
from approvals.models import ApprovalGate, Decision, RemarkKind, ToolAllowance  # noqa: E402
from approvals.presentation import redacted_change  # noqa: E402
from approvals.types import Permit  # noqa: E402
from routekit_site import members  # noqa: E402
from routekit_site.tenancy.errors import LastAdmin, TenancyError  # noqa: E402
from routekit_site.tenancy.models import Membership, User  # noqa: E402
from routekit_site.tenancy.roles import Role  # noqa: E402
from tests.fixtures.cast import Cast, make_tenant, make_user  # noqa: E402
from tests.fixtures.gates import TWO, House, Opened  # noqa: E402
from traces.models import LedgerEntry  # noqa: E402

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
Side = Callable[[], object]
Outcome = dict[str, Any]
MOST_SIDES = 11
THREADS = ThreadPoolExecutor(MOST_SIDES)


def make_house() -> House:
    """A tenant of its own for this process."""
    slug = f"race-{uuid.uuid4().hex[:8]}"
    acme, globex = make_tenant(slug), make_tenant(f"{slug}-other")
    people = {
        name: make_user(f"{name}-{slug}", (acme, role))
        for name, role in (
            ("alice", Role.DEVELOPER),
            ("rita", Role.REVIEWER),
            ("rolf", Role.REVIEWER),
            ("adam", Role.ADMIN),
            ("audra", Role.AUDITOR),
        )
    }
    for name, person in people.items():
        person.first_name = name.capitalize()
        person.save()
    strangers = {name: make_user(f"{name}-{slug}") for name in ("carol", "ravi", "ada", "oscar")}
    return House(Cast(acme=acme, globex=globex, **people, **strangers), NOW, itertools.count(1))


def race(*sides: Side) -> list[Outcome]:
    """Start all sides at the same moment, each on a connection of its own; what each one got.

    A thread keeps its connection for the next race; for each new one the server would start a process.
    """
    barrier = threading.Barrier(len(sides))
    outcomes: list[Outcome] = [{} for _ in sides]

    def run(position: int, side: Side) -> None:
        connection.ensure_connection()
        barrier.wait(timeout=30)
        try:
            outcomes[position] = {"answer": told(side())}
        except AlreadyDecided as error:
            outcomes[position] = {"error": "AlreadyDecided", "winner": error.winner, "state": error.state}
        except (ApprovalError, TenancyError) as error:
            outcomes[position] = {"error": type(error).__name__}
        except Exception as error:  # noqa: BLE001 - the test sees it and fails
            outcomes[position] = {"crash": f"{type(error).__name__}: {error}"}

    # No thread takes two sides: each waits at the barrier until all are there.
    wait([THREADS.submit(run, *pair) for pair in enumerate(sides)], timeout=60)
    return outcomes


def told(answer: object) -> object:
    """An answer as JSON."""
    if isinstance(answer, Decision):
        return {"decision": str(answer.id), "kind": str(answer.kind)}
    if isinstance(answer, (ApprovalGate, Permit)):
        return type(answer).__name__
    return answer


def after(opened: Opened) -> Outcome:
    """What the database holds of a gate."""
    standing = Decision.objects.filter(gate_id=opened.gate.pk).standing().in_order()
    return {"state": opened.fresh().state, "decisions": [[d.decided_by.display_name, d.kind] for d in standing]}


def two_deciders(house: House) -> Outcome:
    """Rita approves while Rolf rejects."""
    opened = house.open()
    sides = race(
        lambda: house.decide(opened, house.cast.rita, opened.ballot("approve")),
        lambda: house.decide(opened, house.cast.rolf, opened.ballot("reject")),
    )
    return {"sides": sides, **after(opened)}


def decide_or_withdraw(house: House) -> Outcome:
    """Rita approves while the run is cancelled."""
    opened = house.open()
    sides = race(lambda: house.decide(opened, house.cast.rita), lambda: house.withdraw(opened))
    return {"sides": sides, **after(opened)}


def two_browsers(house: House) -> Outcome:
    """Rita approves while Rolf rejects, each by the page's form over HTTP: middleware, sessions, views and all."""
    present = replace(house, now=timezone.now())
    opened = present.open()

    def sent(person: User, kind: str) -> Side:
        client = Client(headers={"host": "localhost", "accept": "application/json"})
        client.force_login(person)
        ballot = opened.ballot()
        form = {"digest": ballot.digest, "view_digest": ballot.view_digest, "idempotency_key": ballot.idempotency_key}

        def post() -> object:
            answer = client.post(f"/queue/{opened.gate.pk}/decide/", {**form, "kind": kind}, secure=True)
            body = answer.json()
            return {"status": answer.status_code, "winner": body.get("winner", ""), "state": body.get("state", body)}

        return post

    sides = race(sent(house.cast.rita, "approve"), sent(house.cast.rolf, "reject"))
    return {"sides": sides, **after(opened)}


def decide_or_take_back(house: House) -> Outcome:
    """Rita approves while Alice takes the request back."""
    opened = house.open()

    def take_back() -> object:
        with transaction.atomic():
            return gates.take_back(opened.gate.pk, house.cast.alice, now=house.later(1))

    sides = race(lambda: house.decide(opened, house.cast.rita), take_back)
    return {"sides": sides, **after(opened)}


def decide_or_remove(house: House) -> Outcome:
    """Rita approves while an admin removes her; she is a member again afterwards."""
    opened, tenant = house.open(), house.cast.acme
    member = Membership.objects.get(user=house.cast.rita, tenant=tenant)

    def removed() -> str:
        with transaction.atomic():
            members.remove(member, actor="adam", now=NOW)
        return "removed"

    sides = race(lambda: house.decide(opened, house.cast.rita), removed)
    entries = LedgerEntry.objects.filter(tenant=tenant).order_by("-number")[:2]
    told = [entry.kind for entry in reversed(entries)]
    Membership.objects.create(user=house.cast.rita, tenant=tenant, role=Role.REVIEWER)
    found = {"sides": sides, "told": told, **after(opened)}
    if found["state"] == "pending":
        # Nothing waits when the next race begins.
        house.withdraw(opened)
    return found


def two_admins(house: House) -> Outcome:
    """Two admins remove each other."""
    tenant, people = house.cast.acme, (house.cast.adam, house.cast.rolf)
    Membership.objects.filter(user=house.cast.rolf, tenant=tenant).update(role=Role.ADMIN)
    rows = [Membership.objects.get(user=person, tenant=tenant) for person in people]

    def removes(row: Membership, actor: str) -> Side:
        def side() -> str:
            try:
                with transaction.atomic():
                    members.remove(row, actor=actor, now=NOW)
            except LastAdmin:
                return "refused"
            return "removed"

        return side

    sides = race(removes(rows[0], "rolf"), removes(rows[1], "adam"))
    left = Membership.objects.filter(tenant=tenant, role=Role.ADMIN).count()
    Membership.objects.filter(tenant=tenant, user__in=people).delete()
    for person, role in zip(people, (Role.ADMIN, Role.REVIEWER), strict=True):
        Membership.objects.create(tenant=tenant, user=person, role=role)
    return {"sides": sides, "admins": left}


def decide_or_renew(house: House) -> Outcome:
    """Rita approves while the sweep asks anew about the call."""
    opened = house.open()
    change = redacted_change(house.cast.acme.pk, change_of([difference("redaction", "Masked otherwise.")]))
    request = house.request(opened.binding, opened.verdict.approvers, house.cast.alice, change=change)

    def renew() -> object:
        with transaction.atomic():
            return gates.renew(opened.gate.pk, replace(request, reopens=opened.gate.pk), now=house.later(1))

    sides = race(lambda: house.decide(opened, house.cast.rita), renew)
    return {"sides": sides, "renewed": opened.gate.reopened_as.count(), **after(opened)}


def around_a_decision(house: House) -> Outcome:
    """Claims, a takeover, a remark, a reveal and two sweeps while Rita approves: nothing may deadlock."""
    opened = house.open({"path": "a.txt", "text": "mail bob.builder@example.com"})
    (masked,) = reveals.masked_values(opened.gate.presentation)

    def within(act: Callable[[], object]) -> Side:
        def side() -> object:
            with transaction.atomic():
                return type(act()).__name__

        return side

    gate, cast, now = opened.gate.pk, house.cast, house.later(1)
    sides = race(
        lambda: house.decide(opened, cast.rita),
        within(lambda: claims.claim(gate, cast.rita, take=False, now=now)),
        within(lambda: claims.claim(gate, cast.rolf, take=True, now=now)),
        within(lambda: remarks.say(gate, cast.alice, RemarkKind.NOTE, "soon, please", key=uuid.uuid4().hex, now=now)),
        within(lambda: reveals.reveal(gate, cast.rolf, masked.mark, "why", now=now)),
        within(lambda: gates.escalate(house.later(7200))),
    )
    return {"sides": sides, **after(opened)}


def decide_or_edit(house: House) -> Outcome:
    """Rita approves while Rolf edits the arguments."""
    opened = house.open()
    sides = race(lambda: house.decide(opened, house.cast.rita), lambda: house.supersede(opened, house.cast.rolf))
    return {"sides": sides, "edits": opened.gate.reopened_as.count(), **after(opened)}


def decide_or_expire(house: House) -> Outcome:
    """Rita approves in the last moment while the sweep finds the gate overdue."""
    opened = house.open()

    def expire() -> int:
        with transaction.atomic():
            return gates.expire(house.later(3600))

    sides = race(lambda: house.decide(opened, house.cast.rita, after=3599.999), expire)
    return {"sides": sides, **after(opened)}


def same_form_five_times(house: House) -> Outcome:
    """One form, sent five times at once."""
    opened = house.open()
    ballot = opened.ballot()
    sides = race(*[lambda: house.decide(opened, house.cast.rita, ballot)] * 5)
    return {"sides": sides, **after(opened)}


def one_key_two_gates(house: House) -> Outcome:
    """One key on two gates at once."""
    first, second = house.open(), house.open()
    key = uuid.uuid4().hex
    sides = race(
        lambda: house.decide(first, house.cast.rita, first.ballot(key=key)),
        lambda: house.decide(second, house.cast.rita, second.ballot(key=key)),
    )
    return {"sides": sides, "states": sorted([after(first)["state"], after(second)["state"]])}


def both_of_two(house: House) -> Outcome:
    """Two approvals are needed and come at once."""
    opened = house.open(approvers=TWO)
    sides = race(lambda: house.decide(opened, house.cast.rita), lambda: house.decide(opened, house.cast.rolf))
    return {"sides": sides, **after(opened)}


def undo_or_redeem(house: House) -> Outcome:
    """Rita takes her approval back as its hold ends."""
    opened = house.open()
    house.decide(opened, house.cast.rita, after=1)
    sides = race(lambda: house.undo(opened, house.cast.rita, after=5.999), lambda: house.redeem(opened, after=6))
    return {"sides": sides, **after(opened)}


def two_redeemers(house: House) -> Outcome:
    """Two workers redeem one approval."""
    opened = house.open()
    house.decide(opened, house.cast.rita)
    sides = race(lambda: house.redeem(opened), lambda: house.redeem(opened))
    return {"sides": sides, **after(opened)}


def last_uses(house: House) -> Outcome:
    """Eight workers use a remembered approval that is good for three more calls."""
    opened = house.open({"path": "reports/a.txt", "text": "x"})
    house.decide(opened, house.cast.rita)
    ToolAllowance.objects.get_or_create(tenant=house.cast.acme, tool="write_file", defaults={"mode": "ask"})
    choice = rules.RuleChoice(rules.Reach.ANY, max_uses=3)
    with transaction.atomic():
        rule = rules.make_rule(opened.gate.pk, house.cast.rita, choice, now=house.later(2))

    def use() -> str:
        with transaction.atomic():
            rules.use(rule.pk, now=house.later(3))
        return "used"

    sides = race(*[use] * 8)
    rule.refresh_from_db()
    return {"sides": sides, "uses": rule.uses}


def storm(house: House) -> Outcome:
    """Everything at once on many gates of one tenant: what must not happen is a deadlock."""
    run = house.run(house.cast.alice)
    opened = [house.open(run_id=run if number % 2 else None) for number in range(8)]

    def sweep() -> list[int]:
        return list(house.sweep(after=3600))

    deciders: list[Side] = [
        lambda gate=gate: house.decide(gate, house.cast.rita, after=3599)  # type: ignore[misc]
        for gate in opened
    ]
    sides = race(*deciders, sweep, sweep, lambda: house.withdraw(opened[1]))
    return {"sides": sides, "states": [after(gate)["state"] for gate in opened]}


RACES = {
    function.__name__: function
    for function in (
        two_deciders,
        decide_or_remove,
        two_admins,
        decide_or_withdraw,
        two_browsers,
        decide_or_take_back,
        decide_or_renew,
        around_a_decision,
        decide_or_edit,
        decide_or_expire,
        same_form_five_times,
        one_key_two_gates,
        both_of_two,
        undo_or_redeem,
        two_redeemers,
        last_uses,
        storm,
    )
}


def main() -> None:
    """Run the races that the command line names."""
    house = make_house()
    asked = [argument.split("=") for argument in sys.argv[1:]]
    results = {name: [RACES[name](house) for _ in range(int(rounds))] for name, rounds in asked}
    sys.stdout.write(json.dumps({"vendor": connection.vendor, "races": results}))
    sys.stdout.flush()
    # A side that hangs has no outcome, which the test says; nobody waits for it.
    os._exit(0)


if __name__ == "__main__":
    main()
