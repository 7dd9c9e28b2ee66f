"""What an e-mail notice says: how many calls, and of each the tool, its risk, the agent and a link. Never arguments."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMessage

from approvals.models import Notice, NoticeEvent
from routekit_site.tenancy.models import User

MOST_LINES = 50
_ENDINGS = {"approved": "was approved", "rejected": "was rejected", "expired": "expired: nobody decided in time"}


def compose(person: User, tenant: str, notices: Sequence[Notice]) -> EmailMessage:
    """One message for all of a person's notices from one tenant."""
    waiting = [notice for notice in notices if notice.event == NoticeEvent.WAITING]
    decided = [notice for notice in notices if notice.event != NoticeEvent.WAITING]
    parts = [_section("These calls wait for a decision:", waiting), _section("In your jobs:", decided)]
    footer = f"You asked for these e-mails. Change that under {settings.ROUTEKIT_SITE_URL}/settings/"
    body = "\n\n".join([*filter(None, parts), footer]) + "\n"
    return EmailMessage(_subject(tenant, len(waiting), len(decided)), body, settings.DEFAULT_FROM_EMAIL, [person.email])


def _subject(tenant: str, waiting: int, decided: int) -> str:
    if waiting:
        text = "1 call waits" if waiting == 1 else f"{waiting} calls wait"
        text = f"{text} for a decision in {tenant}"
    else:
        text = "1 call" if decided == 1 else f"{decided} calls"
        text = f"{text} of your jobs decided in {tenant}"
    # A name with a line break in it would end the header.
    return " ".join(text.split())


def _section(title: str, notices: Sequence[Notice]) -> str:
    if not notices:
        return ""
    lines = [_line(notice) for notice in notices[:MOST_LINES]]
    more = len(notices) - len(lines)
    return "\n".join([title, "", *lines, *([f"and {more} more"] if more else [])])


def _line(notice: Notice) -> str:
    facts = notice.facts
    ending = "" if notice.event == NoticeEvent.WAITING else f" {_ENDINGS.get(str(facts['state']), facts['state'])}"
    agent = " ".join(str(facts["agent"]).split())
    return f"- {facts['tool']} ({facts['risk']} risk), asked by {agent}{ending}\n  {facts['url']}"
