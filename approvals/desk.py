"""What one person arranges for themselves at the queue: settings, saved filters, snoozed calls. Nobody else notices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from approvals.errors import BadFilter
from approvals.models import ApprovalGate, PersonalSettings, SavedFilter, Snooze
from approvals.types import Risk
from routekit_site.tenancy.models import User
from traces.pasted_secrets import refusal

MOST_FILTERS = 20
SNOOZE_FOR = timedelta(hours=1)
_MAX_NAME = 40
_MAX_WORDS = 200


def settings_of(user: User) -> PersonalSettings:
    """The person's settings; the defaults, unsaved, where they never changed any."""
    return PersonalSettings.objects.filter(pk=user.pk).first() or PersonalSettings(user=user)


def set_single_keys(user: User, *, on: bool) -> None:
    """Switch the shortcuts of one key on or off, everywhere that this person signs in."""
    PersonalSettings.objects.update_or_create(user=user, defaults={"single_keys": on})


@dataclass(frozen=True)
class QueueFilter:
    """What a list is narrowed to: words that must all occur in a row's text, and a risk (empty: any)."""

    q: str = ""
    risk: str = ""


def save_filter(user: User, tenant_id: int, name: str, wanted: QueueFilter) -> SavedFilter:
    """Remember a filter under a name; the same name again replaces it.

    Raises:
        BadFilter: no name, nothing that it filters by, too long, a live key or password in it, or too many of them.
    """
    name, words = " ".join(name.split()), " ".join(wanted.q.split())
    _check_filter(name, words, wanted.risk)
    own = SavedFilter.objects.filter(user=user, tenant_id=tenant_id)
    if not own.filter(name=name).exists() and own.count() >= MOST_FILTERS:
        raise BadFilter(f"You have {MOST_FILTERS} saved filters already: delete one first.")
    found, _ = SavedFilter.objects.update_or_create(
        user=user, tenant_id=tenant_id, name=name, defaults={"q": words, "risk": wanted.risk}
    )
    return found


def _check_filter(name: str, words: str, risk: str) -> None:
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise BadFilter(f"Give the filter a name of 1 to {_MAX_NAME} characters.")
    if len(words) > _MAX_WORDS or not words.isprintable():
        raise BadFilter(f"A filter holds at most {_MAX_WORDS} characters.")
    if pasted := refusal([name, words], what="The filter"):
        raise BadFilter(pasted)
    if risk not in {"", *(each.value for each in Risk)}:
        raise BadFilter("There is no such risk.")
    if not words and not risk:
        raise BadFilter("There is nothing to save yet: type some words or choose a risk first.")


def saved_filters(user: User, tenant_id: int) -> list[SavedFilter]:
    """The person's filters in a tenant, by name."""
    return list(SavedFilter.objects.filter(user=user, tenant_id=tenant_id).order_by("name"))


def delete_filter(user: User, tenant_id: int, filter_id: UUID) -> bool:
    """Forget one of the person's own filters; False where they have no such one."""
    return SavedFilter.objects.filter(user=user, tenant_id=tenant_id, pk=filter_id).delete()[0] > 0


def snooze(user: User, gate: ApprovalGate, until: datetime) -> Snooze:
    """Keep a call out of this person's list until then. It expires all the same, and is on nobody else's account."""
    found, _ = Snooze.objects.update_or_create(user=user, gate=gate, defaults={"until": until})
    return found


def wake(user: User, gate: ApprovalGate) -> None:
    """Take a snooze back."""
    Snooze.objects.filter(user=user, gate=gate).delete()


def asleep(user: User, tenant_id: int, now: datetime) -> dict[UUID, datetime]:
    """The calls of a tenant that this person has snoozed, and until when."""
    found = Snooze.objects.asleep(user.pk, now).filter(gate__tenant_id=tenant_id)
    return dict(found.values_list("gate_id", "until"))
