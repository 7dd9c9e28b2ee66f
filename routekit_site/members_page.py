"""Pages over who belongs to a tenant: for its admins, for whoever was invited, and over all tenants for operators.

Each POST asks for a fresh proof of who one is, and makes one change in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from routekit_site import members
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import AlreadyMember, InvitationOver, LastAdmin, NotVisible
from routekit_site.tenancy.middleware import SESSION_KEY, TenantRequest, current_membership
from routekit_site.tenancy.models import Invitation, Membership, Tenant
from routekit_site.tenancy.reauthentication import check_reauthenticated
from routekit_site.tenancy.responses import signed_in
from routekit_site.tenancy.roles import Capability, Role

P = ParamSpec("P")

ABOUT = (
    (Role.DEVELOPER, "submits jobs and sees them"),
    (Role.REVIEWER, "sees all jobs and decides on calls"),
    (Role.ADMIN, "does all of that, and sets policy, agents and members"),
    (Role.AUDITOR, "reads jobs, traces and the ledger"),
)


class RoleForm(forms.Form):
    """A role, as it was chosen from the list."""

    role = forms.TypedChoiceField(
        choices=[(role.value, role.value) for role in Role],
        coerce=Role,
        error_messages={"required": "Choose a role.", "invalid_choice": "There is no such role."},
    )


class TenantForm(forms.Form):
    """A new tenant's names."""

    name = forms.CharField(max_length=120)
    slug = forms.SlugField(
        max_length=60,
        error_messages={"invalid": "Only letters without accents, digits, _ and - stand in a short name."},
    )

    def clean_slug(self) -> str:
        """Refuse one that is taken; of two that come at once, the database refuses the second."""
        slug: str = self.cleaned_data["slug"]
        if Tenant.objects.filter(slug=slug).exists():
            raise ValidationError("There is a tenant of this short name already.")
        return slug


def _tenant(request: TenantRequest) -> Tenant:
    """The tenant whose members the person may manage."""
    membership = current_membership(request)
    return check_capability(request.user, membership.tenant_id, Capability.MANAGE_MEMBERS).tenant


def for_operators(
    view: Callable[Concatenate[TenantRequest, P], HttpResponse],
) -> Callable[Concatenate[TenantRequest, P], HttpResponse]:
    """Let operators through; for anybody else there is no such page."""

    @wraps(view)
    def guarded(request: TenantRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_superuser:
            raise NotVisible
        return view(request, *args, **kwargs)

    return guarded


def _page(request: TenantRequest, tenant: Tenant, *, status: int = 200, **more: Any) -> HttpResponse:
    facts = {
        "tenant": tenant,
        "members": members.members_of(tenant.pk),
        "invitations": members.open_invitations(tenant.pk, database_now()),
        "roles": ABOUT,
        "days": members.INVITATION_DAYS,
        "place": "members",
    }
    return render(request, "members/members.html", facts | more, status=status)


def _link(request: TenantRequest, secret: str) -> str:
    return request.build_absolute_uri(resolve_url("invitation", secret))


@require_safe
@never_cache
@signed_in
def member_list(request: TenantRequest) -> HttpResponse:
    """Who belongs to the tenant, and who is invited."""
    return _page(request, _tenant(request))


@require_POST
@signed_in
def change_role(request: TenantRequest, member_id: int) -> HttpResponse:
    """Give a member another role."""
    tenant = _tenant(request)
    member = _member(tenant, member_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _page(request, tenant, status=422, error=form.errors["role"][0])
    check_reauthenticated(request)
    role: Role = form.cleaned_data["role"]
    try:
        with transaction.atomic(durable=True):
            check_capability(request.user, tenant.pk, Capability.MANAGE_MEMBERS, hold=True)
            actor = request.user.get_username()
            members.give_role(tenant, member.user, role, actor=actor, now=database_now())
    except LastAdmin as error:
        return _page(request, tenant, status=409, error=str(error))
    messages.success(request, f"{member.user.display_name} is {role} in {tenant.name}.")
    return HttpResponseRedirect(resolve_url("home" if member.user == request.user else "members"))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def remove_member(request: TenantRequest, member_id: int) -> HttpResponse:
    """Ask once more, and then end a membership."""
    tenant = _tenant(request)
    member = _member(tenant, member_id)
    error = ""
    if request.method == "POST":
        check_reauthenticated(request)
        try:
            with transaction.atomic(durable=True):
                check_capability(request.user, tenant.pk, Capability.MANAGE_MEMBERS, hold=True)
                members.remove(member, actor=request.user.get_username(), now=database_now())
        except LastAdmin as last:
            error = str(last)
        else:
            messages.success(request, f"{member.user.display_name} is no member of {tenant.name} any more.")
            return HttpResponseRedirect(resolve_url("home" if member.user == request.user else "members"))
    facts = {"tenant": tenant, "member": member, "error": error, "place": "members"}
    return render(request, "members/remove.html", facts, status=409 if error else 200)


@require_POST
@never_cache
@signed_in
def invite(request: TenantRequest) -> HttpResponse:
    """Make a link for one person, and show it this once."""
    tenant = _tenant(request)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _page(request, tenant, status=422, error=form.errors["role"][0])
    check_reauthenticated(request)
    with transaction.atomic(durable=True):
        check_capability(request.user, tenant.pk, Capability.MANAGE_MEMBERS, hold=True)
        made, secret = members.invite(tenant, form.cleaned_data["role"], by=request.user, now=database_now())
    return _page(request, tenant, made=made, link=_link(request, secret))


@require_POST
@signed_in
def withdraw_invitation(request: TenantRequest, invitation_id: int) -> HttpResponse:
    """Take an invitation back."""
    tenant = _tenant(request)
    found = Invitation.objects.filter(pk=invitation_id, tenant=tenant).select_related("tenant").first()
    if found is None:
        raise NotVisible
    check_reauthenticated(request)
    with transaction.atomic(durable=True):
        members.withdraw(found, by=request.user, now=database_now())
    messages.success(request, "The invitation is withdrawn: its link leads nowhere now.")
    return HttpResponseRedirect(resolve_url("members"))


def _member(tenant: Tenant, member_id: int) -> Membership:
    found = Membership.objects.filter(pk=member_id, tenant=tenant).select_related("user", "tenant").first()
    if found is None:
        raise NotVisible
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def invitation(request: TenantRequest, token: str) -> HttpResponse:
    """What somebody is invited to; a POST joins."""
    error = ""
    try:
        found = members.invitation_of(token, database_now())
        if request.method == "POST":
            with transaction.atomic(durable=True):
                joined = members.accept(token, request.user, now=database_now())
            request.session[SESSION_KEY] = joined.tenant_id
            messages.success(request, f"You are {joined.role} in {joined.tenant.name}.")
            return HttpResponseRedirect(resolve_url("home"))
    except AlreadyMember as already:
        error = str(already)
    except InvitationOver as over:
        # Whoever holds a link may know that it has ended; of what, the page does not say.
        facts = {"status": 404, "heading": "Not good any more", "message": str(over)}
        return render(request, "error.html", facts, status=404)
    facts = {"invitation": found, "about": dict(ABOUT)[Role(found.role)], "error": error}
    return render(request, "members/invitation.html", facts, status=409 if error else 200)


def _tenants_page(request: TenantRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    facts = {"tenants": members.tenants_at_a_glance(), "form": TenantForm(), "days": members.INVITATION_DAYS}
    return render(request, "members/tenants.html", facts | more, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
@for_operators
def tenants(request: TenantRequest) -> HttpResponse:
    """All tenants by name and number of people; a POST makes one, with an invitation for its first admin."""
    if request.method != "POST":
        return _tenants_page(request)
    form = TenantForm(request.POST)
    if not form.is_valid():
        return _tenants_page(request, status=422, form=form)
    check_reauthenticated(request)
    name, slug = form.cleaned_data["name"], form.cleaned_data["slug"]
    try:
        with transaction.atomic(durable=True):
            now = database_now()
            tenant = members.make_tenant(slug, name, actor=request.user.get_username(), now=now)
            made, secret = members.invite(tenant, Role.ADMIN, by=request.user, now=now)
    except ValidationError as error:
        form.add_error(None, error)
        return _tenants_page(request, status=422, form=form)
    except IntegrityError:
        form.add_error("slug", "Somebody has just made a tenant of this short name.")
        return _tenants_page(request, status=409, form=form)
    return _tenants_page(request, made=made, link=_link(request, secret))


@require_POST
@never_cache
@signed_in
@for_operators
def invite_admin(request: TenantRequest, tenant_id: int) -> HttpResponse:
    """A link for the admin of a tenant that has none. Where there is one, it is theirs to invite."""
    tenant = Tenant.objects.filter(pk=tenant_id).first()
    if tenant is None or members.has_admin(tenant_id):
        raise NotVisible
    check_reauthenticated(request)
    with transaction.atomic(durable=True):
        made, secret = members.invite(tenant, Role.ADMIN, by=request.user, now=database_now())
    return _tenants_page(request, made=made, link=_link(request, secret))
