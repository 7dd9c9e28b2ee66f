"""Who can be signed in with one click in demo mode, and nowhere else."""

from __future__ import annotations

from django.conf import settings

from routekit_site.tenancy.models import Membership

# Named, so that an account which somebody adds to a demo later is not offered to whoever opens the page.
CAST = ("alice", "rita", "adam", "carol", "ravi", "ada", "mia", "rune", "amal")
PASSWORD = "routekit-demo"  # noqa: S105 - printed on every start; demo mode answers to this machine only


def demo_memberships() -> list[Membership]:
    """The demo's people in the order of the cast; nobody outside demo mode."""
    if not settings.DEMO:
        return []
    found = Membership.objects.select_related("user", "tenant").filter(user__username__in=CAST, user__is_active=True)
    return sorted(found, key=lambda membership: CAST.index(membership.user.get_username()))
