"""The fixture of the gate tests."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest

from tests.fixtures.cast import Cast
from tests.fixtures.gates import House


@pytest.fixture
def house(cast: Cast, now: datetime) -> House:
    """The tenant acme with nothing in it yet."""
    return House(cast, now, itertools.count(1))
