"""What an e-mail notice says: how many calls, and of each the tool, its risk, the agent and a link. Never arguments."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMessage

from approvals.models import Notice, NoticeEvent
from routekit_site.tenancy.models import User

MOST_LINES = 50
_ENDINGS = {
    "approved": "was approved",
    "rejected": "was rejected",
    "answered": "was answered by a person in the tool's place",
    "expired": "expired: nobody decided in time",
}
_TITLES = {
    NoticeEvent.CONTAINED: "These tools were taken out of use after a violation, until an admin lifts that:",
    NoticeEvent.ESCALATED: "Half of the time of these calls is over, and your group was called:",
    NoticeEvent.WAITING: "These calls wait for a decision:",
}
_OWN = "In your jobs:"


def compose(person: User, tenant: str, notices: Sequence[Notice]) -> EmailMessage:
    """One message for all of a person's notices from one tenant, the gravest first."""
    parts = [_section(title, [each for each in notices if each.event == event]) for event, title in _TITLES.items()]
    parts.append(_section(_OWN, [each for each in notices if each.event not in _TITLES]))
    footer = f"You asked for these e-mails. Change that under {settings.ROUTEKIT_SITE_URL}/settings/"
    body = "\n\n".join([*filter(None, parts), footer]) + "\n"
    return EmailMessage(_subject(tenant, notices), body, settings.DEFAULT_FROM_EMAIL, [person.email])


def _subject(tenant: str, notices: Sequence[Notice]) -> str:
    contained = sum(notice.event == NoticeEvent.CONTAINED for notice in notices)
    waiting = sum(notice.event in {NoticeEvent.WAITING, NoticeEvent.ESCALATED} for notice in notices)
    if contained:
        text = "1 tool was" if contained == 1 else f"{contained} tools were"
        text = f"{text} taken out of use in {tenant}"
    elif waiting:
        text = "1 call waits" if waiting == 1 else f"{waiting} calls wait"
        text = f"{text} for a decision in {tenant}"
    else:
        text = "1 call" if len(notices) == 1 else f"{len(notices)} calls"
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
    agent = " ".join(str(facts["agent"]).split())
    if notice.event == NoticeEvent.CONTAINED:
        whom = f"for {agent}" if agent else "for every agent"
        return f"- {facts['tool']}, {whom} ({facts['class']})\n  {facts['url']}"
    ending = "" if notice.event in _TITLES else f" {_ENDINGS.get(str(facts['state']), facts['state'])}"
    return f"- {facts['tool']} ({facts['risk']} risk), asked by {agent}{ending}\n  {facts['url']}"
