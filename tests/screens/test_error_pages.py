"""What went wrong is said where the person is looking: a page for people, JSON for scripts, never a trace."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from routekit_site import urls, views
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House

handler400, handler403, handler404 = urls.handler400, urls.handler403, urls.handler404
handler500 = urls.handler500


def _break(_request: HttpRequest) -> HttpResponse:
    message = "secret-in-an-exception"
    raise RuntimeError(message)


urlpatterns = [*urls.urlpatterns, path("break/", _break), path("break.json", _break)]


def test_nothing_here(client: Client, db: None) -> None:  # noqa: ARG001 - the fixture that opens the database
    page = client.get("/nothing/")
    assert page.status_code == 404
    assert "There is nothing here that you can see" in page.text
    assert client.get("/nothing.json").json() == {
        "error": "There is nothing here that you can see. It may belong to another tenant: check which one you work in."
    }


def test_not_with_your_role(client_of: Callable[[User], Client], cast: Cast) -> None:
    page = client_of(cast.alice).get("/queue/")
    assert page.status_code == 403
    assert "Your role in Acme (developer) does not allow this. Ask one of its admins." in page.text
    told = client_of(cast.alice).get("/queue/rows.json").json()
    assert told["error"].startswith("Your role in Acme (developer)")


def test_a_request_that_cannot_be_read() -> None:
    answer = views.bad_request(RequestFactory().get("/x.json"), ValueError("what was sent"))
    assert answer.status_code == 400
    assert b"what was sent" not in answer.content


def test_the_administration_says_who_it_is_for(client_of: Callable[[User], Client], cast: Cast) -> None:
    for address in ("/admin/", "/admin/login/", "/admin/traces/trace/"):
        page = client_of(cast.rita).get(address)
        assert page.status_code == 403
        assert "The administration is for the admins and auditors of a tenant." in page.text


def test_more_than_can_be_sent_at_once(cast: Cast) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(cast.alice)
    strict.get("/jobs/new/")
    page = strict.post("/jobs/new/", {"prompt": "x" * (5 * 2**20)})
    assert page.status_code == 413
    assert "At most 4 MB can be sent at once." in page.text


@override_settings(ROOT_URLCONF=__name__)
def test_something_broke_tells_nothing_of_the_inside(client_of: Callable[[User], Client], cast: Cast) -> None:
    client = client_of(cast.rita)
    client.raise_request_exception = False
    page = client.get("/break/")
    assert page.status_code == 500
    assert "Something broke" in page.text
    assert "secret-in-an-exception" not in page.text
    assert "error" in client.get("/break.json").json()


def test_pages_are_under_the_strict_policy(client_of: Callable[[User], Client], house: House) -> None:
    gate = house.open().gate
    for address in ("/queue/", f"/queue/{gate.pk}/", "/jobs/", "/nothing/"):
        answer = client_of(house.cast.rita).get(address)
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
