"""The admin's pages over webhooks: endpoints with rotatable secrets, and the log of what was sent, to be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.views.decorators.cache import never_cache

from approvals import allow_list, notices, webhooks
from approvals.models import Notice, NoticeEvent, NoticeState, WebhookEndpoint
from approvals.outbound import problem_of
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin
from traces.pasted_secrets import refuse_secrets

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

    from approvals.types import JSONValue

MOST_ENDPOINTS = 10
_CHOICES = [choice for choice in NoticeEvent.choices if choice[0] != NoticeEvent.TEST]


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg] # not generic at run time
    """An endpoint: where to, and which events."""

    url = forms.CharField(
        label="Address",
        max_length=500,
        widget=forms.TextInput(attrs={"size": 80, "placeholder": "https://hooks.example.org/routekit"}),
        help_text="A public HTTPS address. Redirects are not followed; an answer is due within five seconds.",
    )
    events = forms.MultipleChoiceField(choices=_CHOICES, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = WebhookEndpoint
        fields = ("tenant", "url", "description", "events", "enabled")

    def clean_url(self) -> str:
        """Refuse now what would be refused at each attempt."""
        url = str(self.cleaned_data["url"]).strip()
        problem = problem_of(url)
        if problem:
            raise forms.ValidationError(problem)
        return url

    def clean(self) -> dict[str, Any] | None:
        """Keep the number of a tenant's endpoints small: each is told of every event."""
        cleaned = super().clean()
        refuse_secrets(self, ("url", "description"))
        tenant = (cleaned or {}).get("tenant")
        adding = self.instance._state.adding  # noqa: SLF001 - Django's documented name
        if adding and tenant and WebhookEndpoint.objects.filter(tenant=tenant).count() >= MOST_ENDPOINTS:
            raise forms.ValidationError(f"A tenant has at most {MOST_ENDPOINTS} webhooks.")
        return cleaned


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(TenantScopedAdmin):
    """Who is told of what happens at a tenant's gates. Every change stands in the ledger, secrets never."""

    view_capability = Capability.MANAGE_POLICY
    add_capability = Capability.MANAGE_POLICY
    change_capability = Capability.MANAGE_POLICY
    delete_capability = Capability.MANAGE_POLICY
    form = WebhookForm
    change_form_template = "admin/approvals/webhookendpoint/change_form.html"
    list_display = ("url", "tenant", "description", "listens", "standing")
    list_filter = ("enabled", ("tenant", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("tenant",)
    ordering = ("tenant_id", "url")
    actions = None

    @admin.display(description="told of")
    def listens(self, obj: WebhookEndpoint) -> str:
        """The events, in words."""
        names = dict(NoticeEvent.choices)
        return "; ".join(str(names.get(event, event)) for event in obj.events)

    @admin.display(description="state")
    def standing(self, obj: WebhookEndpoint) -> str:
        """Whether it answers."""
        if not obj.enabled:
            return "off"
        return f"{obj.failures} failures in a row; it rests until {obj.retry_at:%H:%M} UTC" if obj.retry_at else "on"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        stored = self.get_queryset(request).filter(pk=obj.pk).first() if change else None
        if not change:
            # Shown by `response_add`, and nowhere after that.
            request.__dict__["new_secret"] = webhooks.rotate(obj, database_now())
        super().save_model(request, obj, form, change)
        if stored is not None and obj.enabled and not stored.enabled:
            WebhookEndpoint.objects.filter(pk=obj.pk).update(failures=0, retry_at=None)
        self._note(request, obj, None if stored is None else _snapshot(stored), _snapshot(obj))

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:
        before = _snapshot(obj)
        super().delete_model(request, obj)
        self._note(request, obj, before, None)

    def _note(
        self, request: HttpRequest, obj: WebhookEndpoint, before: dict[str, JSONValue] | None, after: Any
    ) -> None:
        person = self.person(request)
        allow_list.note_change(obj.tenant_id, person, "webhook", before, after, now=database_now())

    def response_add(self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None) -> Any:  # noqa: ARG002 - Django's signature
        """Show the new endpoint's secret, this once."""
        return self._secret_page(request, obj, str(request.__dict__["new_secret"]))

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("<uuid:pk>/rotate/", self.admin_site.admin_view(self.rotate_view), name="webhook-rotate"),
            path("<uuid:pk>/test/", self.admin_site.admin_view(self.test_view), name="webhook-test"),
        ]
        return [*own, *super().get_urls()]

    def rotate_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Make a new secret; the one before it goes on signing for a day beside it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        obj = self._own(request, pk)
        now = database_now()
        with transaction.atomic(durable=True):
            locked = WebhookEndpoint.objects.select_for_update().get(pk=obj.pk)
            secret = webhooks.rotate(locked, now)
            locked.save()
            self._note(request, locked, {"secret": "the one before"}, {"secret": f"a new one, {now.isoformat()}"})
        return self._secret_page(request, locked, secret)

    def test_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Send the endpoint a message that tells nothing."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        obj = self._own(request, pk)
        if not obj.enabled:
            self.message_user(request, "This webhook is switched off: switch it on first.", messages.WARNING)
            return HttpResponseRedirect(reverse("admin:approvals_webhookendpoint_change", args=[obj.pk]))
        with transaction.atomic(durable=True):
            notices.send_test(obj, database_now())
        self.message_user(request, "The test is on its way. This log tells how it went.", messages.SUCCESS)
        return HttpResponseRedirect(f"{reverse('admin:approvals_notice_changelist')}?endpoint__id__exact={obj.pk}")

    def _own(self, request: HttpRequest, pk: Any) -> WebhookEndpoint:
        found = self.get_object(request, str(pk))
        assert isinstance(found, WebhookEndpoint)  # noqa: S101 - `get_object` answers with a row of this model or 404
        return found

    def _secret_page(self, request: HttpRequest, obj: WebhookEndpoint, secret: str) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "The webhook's secret",
            "endpoint": obj,
            "secret": secret,
        }
        page = TemplateResponse(request, "admin/approvals/webhookendpoint/secret.html", context)
        page["Cache-Control"] = "no-store"
        return page


def _snapshot(obj: WebhookEndpoint) -> dict[str, JSONValue]:
    return {"url": obj.url, "description": obj.description, "events": list(obj.events), "enabled": obj.enabled}


@admin.register(Notice)
class NoticeAdmin(TenantScopedAdmin):
    """What was sent to webhooks, what waits, and what was given up. E-mails to people are their own affair."""

    view_capability = Capability.MANAGE_POLICY
    list_display = ("at", "tenant", "endpoint", "event", "told", "state", "attempts", "last_problem", "again")
    list_filter = ("state", "event", ("endpoint", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("tenant", "endpoint")
    ordering = ("-at",)
    list_per_page = 50
    show_full_result_count = False
    actions = None
    fields = ("tenant", "endpoint", "event", "facts", "at", "state", "attempts", "next_at", "done_at", "last_problem")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(endpoint__isnull=False)

    @admin.display(description="about")
    def told(self, obj: Notice) -> str:
        """The tool and what became of its call."""
        return f"{obj.facts.get('tool', '')} {obj.facts.get('state', '')}".strip() or "nothing"

    @admin.display(description="send again")
    def again(self, obj: Notice) -> str | SafeString:
        """A button for what is over; when the next try is due for what waits."""
        if obj.state == NoticeState.WAITING:
            return f"next try at {_clock(obj.next_at)}"
        button = '<button class="button" name="notice" value="{}" formmethod="post" formaction="{}">{}</button>'
        return format_html(button, obj.pk, reverse("admin:notice-replay"), "Send again")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(never_cache(self.replay_view))
        return [path("replay/", view, name="notice-replay"), *super().get_urls()]

    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Send the notice that the button names once more, under its own id."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        notice = self.get_object(request, request.POST.get("notice", ""))
        assert isinstance(notice, Notice)  # noqa: S101 - `get_object` answers with a row of this model or 404
        with transaction.atomic(durable=True):
            again = notices.replay(notice, database_now())
        if again:
            self.message_user(request, "It is sent again in a moment.", messages.SUCCESS)
        else:
            self.message_user(request, "It waits to be sent already.", messages.WARNING)
        return HttpResponseRedirect(reverse("admin:approvals_notice_changelist"))


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"
