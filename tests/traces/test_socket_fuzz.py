"""The socket told nonsense, as bytes over a real connection: it answers or closes, tells nothing, and stays up.

`make test` sends a few dozen conversations; `make test-fuzz` thousands. Hypothesis prints the one that fails.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.people import Person
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site
from tests.screens.test_fuzz import NASTY
from tests.traces.wire import BINARY, PING, TEXT, Wire, close_code, frame, messages, says

quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
thorough = settings(quick, max_examples=5000)

numbers = st.sampled_from(
    ["-1", "0", "00", "1e3", "1.5", "9" * 400, str(2**63), str(2**64), "NaN", "٣", "1 OR 1=1", ""]
)
texts = st.sampled_from(NASTY) | st.text(max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
# Near misses of the protocol are worth more than noise.
kinds = st.sampled_from(
    ["ping", "looking", "hello", "entry", "reset", "subscribe", "feed", "http.request", "", None, 7]
)
spoken = st.builds(
    lambda kind, rest: says({"type": kind, **rest}),
    kinds,
    st.dictionaries(st.sampled_from(["subject", "tenant", "number", "after", "topic", "type"]), values, max_size=4),
)
noise = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=200) | texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    first=st.sampled_from([0x80, 0x00, 0xC0, 0xF0, 0x40]),
    masked=st.sampled_from([True, True, True, False]),
    claims=st.none() | st.sampled_from([0, 125, 126, 65_535, 65_536, 2**20 + 1, 2**31, 2**63 - 1]),
)
sent = st.lists(spoken | noise | st.binary(max_size=100), min_size=1, max_size=6)
odd_headers = st.dictionaries(
    st.sampled_from(
        [
            *(
                "Origin",
                "Host",
                "Sec-WebSocket-Version",
                "Sec-WebSocket-Protocol",
                "Sec-WebSocket-Extensions",
                "Cookie",
            ),
            *("Sec-WebSocket-Key", "X-Forwarded-Host", "X-Forwarded-For", "Upgrade", "Content-Length"),
            "Transfer-Encoding",
        ]
    ),
    st.sampled_from(
        ["", "x", "null", "0", "-1", "9" * 5000, "permessage-deflate", "http://evil.example", "é", "chunked"]
    )
    | st.text(st.characters(codec="latin1", exclude_categories=["Cc"]), max_size=40),
    max_size=3,
)
addresses = st.sampled_from(
    ["/ws/feed/", "/ws/feed", "/ws/", "/ws/feed/x", "/ws/queue/", "/", "/jobs/", "/ws/../ws/feed/"]
)


@dataclass
class Attacker:
    """Alice's session on the running site, and what of globex she must never hear."""

    site: Site = field(repr=False)
    cookie: str
    acme: int
    globex: int
    secrets: list[bytes]
    logged: int = 0

    def wire(self, path: str, **headers: str) -> Wire:
        """A connection that carries her session."""
        return Wire(self.site.url, path, {"Cookie": self.cookie, **headers})

    def feed(self, after: str = "") -> Wire:
        """A connection to the feed that she may read."""
        return self.wire(f"/ws/feed/?tenant={self.acme}&after={after}")

    def check(self, heard: bytes) -> None:
        """Nothing of globex, no inside of ours; others are still served, and nothing was logged that broke."""
        for secret in (*self.secrets, b"Traceback", b"site-packages", b"django.db"):
            assert secret not in heard
        assert not heard.startswith(b"HTTP/1.1 5"), heard[:200]
        with self.feed() as other:
            assert other.status() == 101
            other.send(says({"type": "ping"}))
            assert b'"pong"' in other.until(b'"pong"')

    def check_log(self) -> None:
        """Nothing broke, and no question was slow again and again: on a busy machine any may be, once or twice."""
        log = self.site.logs()[self.logged :]
        assert not re.findall(r"^.* (?:ERROR|CRITICAL) .*$", log, re.MULTILINE)
        slow = Counter(re.findall(r"a statement took [\d.]+ s: (SELECT .*)$", log, re.MULTILINE))
        assert max(slow.values(), default=0) <= 2, slow


@pytest.fixture(scope="module")
def attacker(embedded: Site) -> Iterator[Attacker]:
    carol = Person.at(embedded, "carol")
    run_id = carol.submit("what is 6 * 7?")
    cookie = f"sessionid={embedded.sign_in('alice').cookies['sessionid']}"
    with sqlite3.connect(embedded.database) as database:
        ids = dict(database.execute("SELECT slug, id FROM tenancy_tenant").fetchall())
    database.close()
    found = Attacker(embedded, cookie, ids["acme"], ids["globex"], [run_id.encode(), b"Carol", b"Globex"])
    # A site that starts says for a while that it is not ready.
    found.logged = len(embedded.logs())
    # The mark is there to be heard, by whoever may.
    own = f"sessionid={carol.client.cookies['sessionid']}"
    with Wire(embedded.url, f"/ws/feed/?tenant={ids['globex']}&after=0", {"Cookie": own}) as wire:
        assert run_id.encode() in wire.until(run_id.encode())
    yield found
    found.check_log()


def converse(attacker: Attacker, data: st.DataObject) -> None:
    """One drawn conversation: an address, headers, and what is sent once the socket is open or refused."""
    path = data.draw(addresses, label="path")
    tenant = data.draw(st.sampled_from([str(attacker.acme), str(attacker.globex)]) | numbers, label="tenant")
    after = data.draw(numbers, label="after")
    headers = data.draw(st.just({}) | odd_headers, label="headers")
    with attacker.wire(f"{path}?tenant={tenant}&after={after}".replace(" ", "%20"), **headers) as wire:
        for part in data.draw(sent, label="sent"):
            wire.send(part)
        # A frame that claims to be longer than it is leaves both waiting.
        heard = wire.rest(patience=0.05)
    attacker.check(heard)
    if tenant == str(attacker.globex):
        assert b" 101 " not in heard[:20]


@quick
@given(data=st.data())
def test_nonsense_is_answered_or_closed(attacker: Attacker, data: st.DataObject) -> None:
    converse(attacker, data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@thorough
@given(data=st.data())
def test_thousands_of_conversations(attacker: Attacker, data: st.DataObject) -> None:
    converse(attacker, data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(BINARY, b"\x00\xff" * 40), 4008),
        (frame(TEXT, b"x" * 1025), 4008),
        (frame(TEXT, b"[1, 2]"), 4008),
        (says({"type": "subscribe", "tenant": 2, "topic": "gate"}), 4008),
        (says({"type": "entry", "number": 10**30}), 4008),
        (says({"type": ["looking"]}), 4008),
        (says({"type": "looking", "subject": {"id": 1}}), 4008),
        (frame(TEXT, b"\xff\xfe\xfd"), None),
        (frame(TEXT, b"", first=0xC0), None),
        (frame(0x3, b"a"), None),
        (frame(PING, b"x" * 126), None),
        (frame(TEXT, b'{"type": "ping"}', masked=False), None),
        (frame(TEXT, b"", claims=2**31), None),
        (frame(TEXT, b"x" * 70_000), None),
    ],
    ids=[
        *("binary", "too long", "no object", "unknown topic", "server's own", "list", "wrong type", "no UTF-8"),
        *("reserved bit", "reserved opcode", "long ping", "unmasked", "2 GB claimed", "70 kB"),
    ],
)
def test_what_is_none_of_the_protocols_closes_the_socket(attacker: Attacker, data: bytes, code: int | None) -> None:
    with attacker.feed() as wire:
        assert b'"hello"' in wire.until(b'"hello"')
        wire.send(data)
        wire.send(says({"type": "ping"}))
        heard = wire.rest()
        # What breaks WebSocket's own rules is hung up on without a word.
        assert wire.hung_up is (code is None)
    assert close_code(heard) == code
    assert b'"pong"' not in heard
    attacker.check(heard)


def test_a_number_of_another_tenant_opens_nothing(attacker: Attacker) -> None:
    for tenant in (attacker.globex, f"{attacker.acme}&tenant={attacker.globex}", f"0{attacker.globex}", 0, 10**30):
        with attacker.wire(f"/ws/feed/?tenant={tenant}&after=0") as wire:
            status, heard = wire.status(), wire.rest(patience=0.05)
        # Of two tenants in one address the first counts: her own.
        assert status == (101 if "&" in str(tenant) else 403)
        attacker.check(heard)


def test_a_subject_that_she_made_up_is_told_to_nobody_of_another_tenant(attacker: Attacker) -> None:
    ravi = Person.at(attacker.site, "ravi").client.cookies["sessionid"]
    place = f"/ws/feed/?tenant={attacker.globex}"
    with Wire(attacker.site.url, place, {"Cookie": f"sessionid={ravi}"}) as reviewer:
        reviewer.until(b'"hello"')
        with attacker.feed() as wire:
            wire.until(b'"hello"')
            wire.send(says({"type": "looking", "subject": "made-up-subject"}))
            wire.send(says({"type": "ping"}))
            wire.until(b'"pong"')
        reviewer.send(says({"type": "ping"}))
        assert b"made-up-subject" not in reviewer.until(b'"pong"')


def test_a_flood_closes_the_flooding_sockets_and_serves_the_others(attacker: Attacker) -> None:
    codes = []
    for _ in range(20):
        with attacker.feed() as wire:
            wire.until(b'"hello"')
            wire.send(says({"type": "ping"}) * 500)
            codes.append(close_code(wire.rest()))
    assert codes == [4008] * 20
    attacker.check(b"")


def test_connections_that_never_finish_their_handshake_hold_nobody_up(attacker: Attacker) -> None:
    halves = [Wire(attacker.site.url, "/ws/feed/", {"Sec-WebSocket-Key": ""}) for _ in range(50)]
    try:
        for half in halves:
            half.__enter__()
        attacker.check(b"")
        assert httpx.get(f"{attacker.site.url}/healthz", timeout=10).status_code == 200
    finally:
        for half in halves:
            half.__exit__()


def test_the_server_forgets_sockets_that_went(attacker: Attacker) -> None:
    """A hundred sockets that break off leave none behind: who looks at a call is forgotten with them."""
    rita = Person.at(attacker.site, "rita").client.cookies["sessionid"]
    place = f"/ws/feed/?tenant={attacker.acme}"
    for _ in range(30):
        with Wire(attacker.site.url, place, {"Cookie": f"sessionid={rita}"}) as wire:
            wire.until(b'"hello"')
            wire.send(says({"type": "looking", "subject": "left-behind"}))

    def nobody() -> bool:
        with Wire(attacker.site.url, place, {"Cookie": f"sessionid={rita}"}) as wire:
            wire.until(b'"hello"')
            wire.send(says({"type": "ping"}))
            heard = wire.until(b'"pong"')
        told = messages(heard)
        return b'"pong"' in heard and not any(
            message.get("subject") == "left-behind" and message["people"] for message in told
        )

    eventually(nobody, what="the looks of sockets that went to be forgotten")
