"""The log never holds what somebody wrote: texts of errors, arguments of tasks, addresses and keys."""

from __future__ import annotations

import io
import json
import logging
import secrets
import sys
from datetime import datetime

import pytest
from django.test import Client
from structlog.contextvars import bound_contextvars, get_contextvars

from routekit_site.logs import PlainFormatter, RedactingFilter, json_formatter


@pytest.fixture
def lines() -> tuple[logging.Logger, io.StringIO]:
    """A logger with the site's filter and formatter, and what it wrote."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(PlainFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("tests.logs")  # noqa: LOG001 - outside the tree, so that nothing else writes
    logger.addHandler(handler)
    return logger, written


def test_plain_messages_stay_readable(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    logger.info("run %s is %s after %d steps", "7f0c", "waiting", 3)
    assert written.getvalue() == "INFO run 7f0c is waiting after 3 steps\n"


def test_personal_data_and_keys_are_redacted(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    key = f"sk-{secrets.token_hex(24)}"
    logger.warning("asked by %s with %s", "mara.lind@example.org", key)
    assert "mara.lind" not in written.getvalue()
    assert key not in written.getvalue()


def test_an_error_in_the_arguments_is_its_kind_only(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    logger.error("it failed: %s", ValueError("the whole prompt"))
    assert written.getvalue() == "ERROR it failed: ValueError\n"


def test_what_celery_logs_of_a_task_loses_its_payload(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    facts = {"name": "advance_run", "args": "('the prompt',)", "exc": "ValueError('the prompt')", "id": "7f"}
    logger.error("Task %(name)s[%(id)s] raised: %(exc)s %(args)s", facts)
    assert written.getvalue() == "ERROR Task advance_run[7f] raised: … …\n"


def test_a_traceback_names_kinds_and_places_without_texts(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    try:
        try:
            raise KeyError("the inner prompt")  # noqa: TRY301
        except KeyError as error:
            raise RuntimeError("the outer prompt") from error
    except RuntimeError:
        logger.exception("a call failed")
    text = written.getvalue()
    assert "prompt" not in text
    assert "builtins.RuntimeError at " in text
    assert "caused by builtins.KeyError at " in text
    assert "test_logs.py" in text


def test_a_message_that_cannot_be_put_together_is_not_written_raw(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    logger.error("%d items", "the prompt")
    assert "prompt" not in written.getvalue()
    assert "could not be redacted: TypeError" in written.getvalue()


def test_a_cached_traceback_of_another_handler_is_not_used() -> None:
    try:
        raise ValueError("the prompt")  # noqa: TRY301
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, sys.exc_info())
    record.exc_text = "ValueError: the prompt"
    assert "prompt" not in PlainFormatter("%(message)s").format(record)


@pytest.fixture
def objects() -> tuple[logging.Logger, io.StringIO]:
    """A logger as production has it: JSON objects, redacted."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(json_formatter())
    logger = logging.Logger("tests.logs")  # noqa: LOG001 - outside the tree, so that nothing else writes
    logger.addHandler(handler)
    return logger, written


def test_json_lines_name_run_gate_and_request(objects: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = objects
    with bound_contextvars(run="7f0c", gate="a1b2", request="c3d4"):
        logger.warning("asked by %s", "mara.lind@example.org")
    line = json.loads(written.getvalue())
    assert {name: line[name] for name in ("run", "gate", "request")} == {
        "run": "7f0c",
        "gate": "a1b2",
        "request": "c3d4",
    }
    assert (line["level"], line["logger"]) == ("warning", "tests.logs")
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert "mara" not in written.getvalue()


def test_json_lines_hold_no_text_of_an_error(objects: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = objects
    try:
        raise RuntimeError("the prompt")  # noqa: TRY301
    except RuntimeError:
        logger.exception("a call failed")
    (line,) = written.getvalue().splitlines()
    assert "the prompt" not in line
    assert json.loads(line)["causes"][0].startswith("builtins.RuntimeError at ")


def test_lines_for_people_end_with_the_ids(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    with bound_contextvars(run="7f0c"):
        logger.info("it goes on")
    assert written.getvalue() == "INFO it goes on run=7f0c\n"


@pytest.mark.django_db
def test_a_request_has_one_id_in_its_answer_and_in_its_lines(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="routekit_site.request_log")
    answer = client.get("/healthz?q=what+somebody+typed", headers={"X-Request-ID": "proxy-0001"})
    assert answer["X-Request-ID"] == "proxy-0001"
    assert "GET healthz answered 200" in caplog.text
    assert "typed" not in caplog.text


@pytest.mark.django_db
def test_a_thread_forgets_the_ids_of_a_request_that_it_served(client: Client) -> None:
    client.get("/runs/7f0c3a52-0000-4000-8000-000000000000/")
    assert get_contextvars() == {}


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["", "short", "a b c d e f g h", "x" * 65, "<script>alert</script>"])
def test_an_id_that_is_none_is_replaced(client: Client, given: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": given})
    assert answer["X-Request-ID"] != given
    assert len(answer["X-Request-ID"]) == 32
