"""Forgetting raw values on this floor: the sealed arguments of calls whose run is long over.

Remembered rules keep theirs: they end by themselves, and need them until then. So do reviewers' answers in a tool's
place: they are the reviewer's own words, and the signature of the decision covers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from approvals.models import ApprovalGate, RecordedCall
from routekit_site.tenancy.encryption import FORGOTTEN


def forget_arguments(run_ids: Sequence[UUID]) -> int:
    """Delete the raw arguments of the gates and recorded calls of finished runs; answers how many there were.

    Needs an open transaction. The digests, views and decisions stay, so that it can still be proved who decided what
    was shown.
    """
    gates = ApprovalGate.objects.filter(run_id__in=run_ids).update(arguments_sealed=FORGOTTEN)
    return gates + RecordedCall.objects.filter(run_id__in=run_ids).update(arguments_sealed=FORGOTTEN)
