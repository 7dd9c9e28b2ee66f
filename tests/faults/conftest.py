"""One broken site for all fault tests of a worker; each test leaves it working."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import arena as arenas
from tests.faults.arena import Arena
from tests.fixtures.services import Services


@pytest.fixture(scope="package")
def shared_arena(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A site to be broken, shared: a test repairs what it broke. It ends with the last: idle, it would slow others."""
    with arenas.arena(services, tmp_path_factory.mktemp("arena")) as made:
        yield made


@pytest.fixture
def arena(shared_arena: Arena) -> Iterator[Arena]:
    """The shared site; afterwards every run has to end and every invariant has to hold."""
    yield shared_arena
    shared_arena.settle()
    assert shared_arena.faults() == []
