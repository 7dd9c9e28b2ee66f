"""Runs at a terminal: found by the beginning of their id, printed, and followed until they end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

from agents import pages
from agents.models import Run
from agents.runs import check_view_run, visible_runs
from agents.states import RUN_FINISHED
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.models import User
from routekit_site.tenancy.templatetags.screens import duration

# How often a run that is followed is looked at, in seconds. The row is the message; a terminal has no socket.
_LOOK_EVERY = 0.5
_SHORTEST = 4
_RECENT = 500


def named_run(user: User, tenant_id: int, name: str) -> Run:
    """The run with this id that the person may see, or the recent one whose id begins so.

    Raises:
        NotVisible: none does, or several do.
    """
    wanted = name.strip().lower()
    if len(wanted) < _SHORTEST or not set(wanted) <= set("0123456789abcdef-"):
        raise NotVisible("A run is named by its id, or by at least the first 4 digits of it.")
    visible = visible_runs(user, tenant_id)
    try:
        ids = [uuid.UUID(wanted)]
    except ValueError:
        recent = visible.newest_first().values_list("pk", flat=True)[:_RECENT]
        ids = [pk for pk in recent if str(pk).startswith(wanted)]
    if len(ids) > 1:
        raise NotVisible("Several runs' ids begin so: name it with more digits.")
    found = visible.select_related("agent", "submitter").filter(pk__in=ids).first()
    if found is None:
        raise NotVisible("There is no such run that you can see.")
    check_view_run(user, found)
    return found


def follow(run: Run, user: User, tell: Callable[[str], None]) -> Run:
    """Tell each change of a run, one line each, until it has finished; the run as it then is."""
    told: set[str] = set()
    while True:
        run.refresh_from_db()
        for line in news(run, user):
            if line not in told:
                told.add(line)
                tell(line)
        if run.state in RUN_FINISHED:
            return run
        time.sleep(_LOOK_EVERY)


def news(run: Run, user: User) -> Iterator[str]:
    """What there is to tell of a run now; a line that was told before is not told again."""
    page = pages.run_page(run, user)
    for step in page["steps"]:
        for call in step.calls:
            if call.state not in {"proposed", "gated"}:
                reason = f": {call.reason}" if call.reason else ""
                yield f"step {step.number}: {call.tool} {call.state_text}{reason}"
    for wait in page["waits"]:
        yield f"waits for {wait.approvers} to decide: {wait.sentence} (gate {wait.id})"
    if run.state == "queued":
        yield "queued"


def summary(run: Run) -> list[str]:
    """How a run stands: the state, the answer or what went wrong, and what it cost."""
    lines = [f"{run.state.replace('_', ' ')}: {run.error_message}" if run.error_message else run.state]
    if run.output_redacted:
        lines += ["", run.output_redacted, ""]
    worked, waited = duration(run.worked_milliseconds / 1000), duration(run.waited_milliseconds / 1000)
    lines.append(f"worked {worked}, waited {waited}, {run.input_tokens + run.output_tokens:,} tokens")
    return lines
