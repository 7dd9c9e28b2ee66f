"""The main job, over HTTP and in one process: submit, stop at a gate, decide, go on; nothing in clear anywhere."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.people import Person, no_hold
from tests.fixtures.processes import Site, prepare_embedded, stopping

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

EXAMPLE = "read notes.txt, write summary.txt, fetch a page"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of this file's own: others' tests need the pause in which an approval can be undone."""
    made = prepare_embedded(tmp_path_factory.mktemp("main-job"))
    no_hold(made)
    with stopping(made):
        made.start("serve", [sys.executable, "manage.py", "serve"])
        made.wait_until_ready()
        yield made


@pytest.fixture
def alice(site: Site) -> Person:
    return Person.at(site, "alice")


@pytest.fixture
def rita(site: Site) -> Person:
    return Person.at(site, "rita")


def folder_of(site: Site, tenant: str = "acme") -> Path:
    return Path(site.environment["ROUTEKIT_DATA_DIR"]) / "sandboxes" / tenant / "files-and-web"


def test_approved_calls_run_and_the_run_finishes(site: Site, alice: Person, rita: Person) -> None:
    summary = folder_of(site) / "summary.txt"
    summary.unlink(missing_ok=True)
    run_id = alice.submit(EXAMPLE)
    for tool in ("read_file", "write_file", "http_request"):
        gate = rita.gate_of(run_id)
        assert gate["tool"] == tool
        assert summary.exists() is (tool == "http_request")
        rita.approve(gate)
    done = alice.run_in(run_id, "succeeded")
    assert "ferry leaves at 07:40" in summary.read_text(encoding="utf-8")
    assert "Harbour notes" in done["output"]
    assert not [row for row in rita.waiting() if row["run"] == run_id]


def test_a_rejected_call_never_runs_and_the_model_is_told_why(site: Site, alice: Person, rita: Person) -> None:
    target = folder_of(site) / "rejected.txt"
    run_id = alice.submit('write_file {"path": "rejected.txt", "text": "never"}')
    rita.reject(rita.gate_of(run_id), "Wrong place for it")
    done = alice.run_in(run_id, "succeeded")
    assert not target.exists()
    assert "Wrong place for it" in done["output"]


def test_the_demos_read_of_notes_is_redacted_where_it_is_shown(alice: Person, rita: Person) -> None:
    run_id = alice.submit("read notes.txt")
    rita.approve(rita.gate_of(run_id))
    done = alice.run_in(run_id, "succeeded")
    assert "meeting point is the quay" in done["output"]
    assert "mara.lind" not in str(done)
    assert "700 12 34" not in str(done)


def test_a_denied_tool_is_not_run_and_needs_nobody(site: Site, alice: Person) -> None:
    notes = folder_of(site) / "notes.txt"
    run_id = alice.submit('delete_file {"path": "notes.txt"}')
    alice.run_in(run_id, "succeeded", "failed")
    assert notes.exists()


def test_an_allowed_tool_runs_at_once(alice: Person) -> None:
    run_id = alice.submit('calculator {"expression": "6 * 7"}')
    assert "42" in alice.run_in(run_id, "succeeded")["output"]


def test_a_stranger_sees_nothing_of_it(site: Site, alice: Person, rita: Person) -> None:
    run_id = alice.submit("read notes.txt")
    gate = rita.gate_of(run_id)
    ravi = Person.at(site, "ravi")
    assert ravi.client.get(f"/runs/{run_id}/").status_code == 404
    assert ravi.client.get(f"/queue/{gate['id']}/").status_code == 404
    assert ravi.post(f"/queue/{gate['id']}/decide/", {}, json=True).status_code in {403, 404}
    assert not ravi.waiting()
    rita.reject(gate, "Only looked at")


def pages_of(person: Person, paths: list[str]) -> str:
    return "\n".join(person.get(path) for path in paths)


def test_nothing_personal_or_secret_is_found_in_clear(own_embedded: Callable[..., Site]) -> None:
    site = own_embedded(ROUTEKIT_LOG_LEVEL="DEBUG")
    no_hold(site)
    alice, rita, adam = (Person.at(site, name) for name in ("alice", "rita", "adam"))
    mark = secrets.token_hex(4)
    raw = {
        "e-mail": f"petra.{mark}@private-{mark}.example.org",
        "phone": f"+49 30 {secrets.randbelow(900_000) + 100_000} {secrets.randbelow(90) + 10}",
        "key": f"sk-proj-{secrets.token_urlsafe(48)}",
    }
    text = f"Write to {raw['e-mail']} or call {raw['phone']}."
    (folder_of(site) / "found.txt").write_text(f"the key is {raw['key']}", encoding="utf-8")
    prompt = f'{text}\nwrite_file {{"path": "letter.txt", "text": "{text}"}}\nthen\nread_file {{"path": "found.txt"}}'
    with pytest.raises(AssertionError, match="refused: 422"):
        alice.submit(f"{prompt}\nthe key is {raw['key']}")
    run_id = alice.submit(prompt)
    gates = []
    for _ in range(2):
        gates.append(rita.gate_of(run_id))
        rita.approve(gates[-1])
    alice.run_in(run_id, "succeeded")
    refused = alice.submit(prompt)
    rita.reject(rita.gate_of(refused), f"Not to {raw['e-mail']}, please")
    rita.reject(rita.gate_of(refused), "Nothing to read")
    alice.run_in(refused, "succeeded")

    letter = (folder_of(site) / "letter.txt").read_text(encoding="utf-8")
    assert letter == text, "the tool itself gets the true values"

    shown = {
        "alice's pages": pages_of(alice, ["/jobs/", f"/runs/{run_id}/", f"/runs/{run_id}.json", f"/runs/{refused}/"]),
        "rita's pages": pages_of(
            rita, ["/queue/", "/jobs/", *(f"/queue/{g['id']}{end}" for g in gates for end in ("/", ".json"))]
        ),
        "the admin": pages_of(adam, ["/admin/", "/admin/traces/trace/", f"/admin/traces/trace/{run_id}/change/"]),
        "the log": site.logs(),
    }
    files = [path for path in Path(site.environment["ROUTEKIT_DATA_DIR"]).rglob("*") if path.is_file()]
    stored = {path.name: path.read_bytes() for path in files if "sandboxes" not in path.parts}
    assert "routekit.sqlite3" in stored
    assert "routekit.sqlite3-wal" in stored
    for what, value in raw.items():
        for where, page in shown.items():
            assert value not in page, f"the {what} stands in {where}"
        for where, content in stored.items():
            assert value.encode() not in content, f"the {what} stands in {where}"
            assert value.replace(" ", "").encode() not in content, f"the {what} stands in {where} without spaces"
