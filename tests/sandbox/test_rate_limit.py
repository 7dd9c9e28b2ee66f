"""N30 with a real Redis: exactly sixty of sixty-one requests, four processes with eight threads each."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.sandbox.egress.broker import redis_url as shared_address
from agents.sandbox.egress.rate import (
    LocalRateLimiter,
    RateLimitError,
    RateUnavailableError,
    SharedRateLimiter,
    limiter,
)
from agents.sandbox.egress.session import EmbeddedBroker, rate_key
from tests.fixtures.polling import eventually
from tests.fixtures.services import end, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from agents.sandbox.egress.rate import RateLimitError, SharedRateLimiter
limiter = SharedRateLimiter(sys.argv[1])
def one(_):
    try:
        limiter.admit("shared", 60)
    except RateLimitError:
        return 0
    return 1
with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(one, range(16))))
"""


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return path.exists() and probe.connect_ex(str(path)) == 0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        missing("redis-server is not installed, so no limit can be shared")
    path = tmp_path / "redis.sock"
    argv = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: _answers(path), what="the Redis started for the test")
        yield f"unix://{path}"
    finally:
        end(process)


def test_n30_four_workers_of_eight_threads(redis_url: str) -> None:
    argv = [sys.executable, "-c", PROGRAM, redis_url]
    cwd = Path(__file__).parents[2]
    workers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=cwd) for _ in range(4)]
    assert sum(int(worker.communicate(timeout=120)[0]) for worker in workers) == 60
    with pytest.raises(RateLimitError) as caught:
        SharedRateLimiter(redis_url).admit("shared", 60)
    assert 0 < caught.value.retry_after <= 60


def test_nothing_is_sent_when_the_counter_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RateUnavailableError, match="nothing was sent"):
        SharedRateLimiter(f"unix://{tmp_path}/none.sock").admit("a", 60)


def test_the_address_of_the_shared_counter_may_stand_in_a_file(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the site takes it: a broker that read the variable alone would count for itself, and say nothing."""
    path = tmp_path / "redis_url"
    path.write_text(f"{redis_url}\n", encoding="utf-8")
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_URL_FILE", str(path))
    broker = EmbeddedBroker.start()
    try:
        given = Path(f"/proc/{broker.process.pid}/environ").read_bytes().split(b"\0")
        found = shared_address(
            {name.decode(): value.decode() for name, _, value in (each.partition(b"=") for each in given)}
        )
    finally:
        broker.stop()
    assert found == redis_url
    limiter(found).admit("file", 1)
    with pytest.raises(RateLimitError):
        SharedRateLimiter(redis_url).admit("file", 1)


def test_each_tenant_has_a_minute_of_its_own() -> None:
    """Under one network policy, word for word: what one tenant uses up is nothing to the other."""
    counter, one, other = LocalRateLimiter(), rate_key(1, "policy"), rate_key(2, "policy")
    counter.admit(one, 1)
    with pytest.raises(RateLimitError):
        counter.admit(one, 1)
    counter.admit(other, 1)
