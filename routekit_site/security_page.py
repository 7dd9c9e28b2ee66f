"""The security checklist of a tenant, for its admins: what holds, what does not and how to mend it; and the reviews."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from routekit_site.security_checklist import checklist
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.middleware import TenantRequest, current_membership
from routekit_site.tenancy.reauthentication import check_reauthenticated
from routekit_site.tenancy.responses import signed_in
from routekit_site.tenancy.roles import Capability
from traces.pasted_secrets import check_no_secret
from traces.policy_reviews import record_review

INTERVALS = ((30, "in a month"), (90, "in three months"), (180, "in half a year"))


class ReviewForm(forms.Form):
    """One review: when the next is due, and what was seen."""

    days = forms.TypedChoiceField(choices=INTERVALS, coerce=int, error_messages={"required": "Choose when."})
    note = forms.CharField(required=False, max_length=500)

    def clean_note(self) -> str:
        """A note is kept for ever: no live secret goes into it."""
        note: str = self.cleaned_data["note"]
        check_no_secret(note, what="The note")
        return note


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def security(request: TenantRequest) -> HttpResponse:
    """The checklist; a POST notes that the person has reviewed the policy."""
    tenant = check_capability(request.user, current_membership(request).tenant_id, Capability.MANAGE_POLICY).tenant
    form = ReviewForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        check_reauthenticated(request)
        with transaction.atomic(durable=True):
            record_review(
                tenant_id=tenant.pk,
                actor=request.user.get_username(),
                note=form.cleaned_data["note"],
                days=form.cleaned_data["days"],
                now=database_now(),
            )
        messages.success(request, "The review is in the ledger.")
        return HttpResponseRedirect(resolve_url("security"))
    items = checklist(tenant, database_now())
    facts = {"tenant": tenant, "items": items, "failing": sum(not item.holds for item in items), "form": form}
    more = {"intervals": INTERVALS, "place": "security"}
    return render(request, "security.html", facts | more, status=422 if request.method == "POST" else 200)
