"""What the people of the demo's freight company asked their agent for last week, and how each call was decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

PAGE = "{page}"
PAGE_TEXT = (
    "<!doctype html><title>Harbour</title><p>Open on weekdays from 06:00 to 19:30, on Mondays until 16:00.</p>\n"
)


class Answer(StrEnum):
    """What becomes of a call that waits."""

    APPROVE = "approve"
    REJECT = "reject"
    REMEMBER = "remember"
    EXPIRE = "expire"
    CANCEL = "cancel"
    LEAVE = "leave"


@dataclass(frozen=True)
class Choice:
    """One answer: after how long, by whom, and why. Without a choice of its own a call is approved like the first."""

    answer: Answer
    after: timedelta = timedelta(minutes=2)
    by: str = "rune"
    reason: str = ""


@dataclass(frozen=True)
class Story:
    """A job: how many days ago, at what time of day (UTC), whose, what was asked, and the answers in order."""

    days_ago: int
    time: str
    submitter: str
    prompt: str
    choices: tuple[Choice, ...] = ()


def approved(seconds: float, by: str = "rune") -> Choice:
    """An approval after so many seconds."""
    return Choice(Answer.APPROVE, timedelta(seconds=seconds), by)


def rejected(seconds: float, reason: str, by: str = "rune") -> Choice:
    """A rejection after so many seconds, with what the model is told."""
    return Choice(Answer.REJECT, timedelta(seconds=seconds), by, reason)


REMEMBERED = Choice(Answer.REMEMBER, timedelta(seconds=48))
EXPIRED = Choice(Answer.EXPIRE)
CANCELLED = Choice(Answer.CANCEL, timedelta(minutes=6), by="odd")
LEFT = Choice(Answer.LEAVE)

FILES = {
    "manifests/monday.csv": "shipment,pallets,weight_kg,to\nM-1041,12,8420,Lindholm\nM-1042,6,3110,Varberg\n",
    "manifests/wednesday.csv": "shipment,pallets,weight_kg,to\nM-1057,9,5980,Lindholm\nM-1058,22,15300,Halmstad\n",
    "manifests/friday.csv": "shipment,pallets,weight_kg,to\nM-1071,4,1900,Varberg\nM-1072,18,12040,Lindholm\n",
    "contacts.txt": (
        "Harbour office: Ebba Nord, ebba.nord@harbour.example, +46 31 700 45 18\n"
        "Night gate: +46 31 700 45 99\nCustoms: post@customs.example\n"
    ),
    "rates.json": '{"pallet_day": 14.5, "crane_hour": 310, "night_surcharge": 0.2}\n',
    "reports/template.md": "# Report\n\n- Pallets:\n- Weight:\n- Remarks:\n",
}

_POST = 'http_request {"url": "{page}", "method": "POST", "body": "%s"}'
_WRITE = 'write_file {"path": "%s", "text": "%s", "overwrite": true}'
_COUNT = "run_python {\"code\": \"pallets = [%s]\\nprint(sum(pallets), 'pallets in', len(pallets), 'shipments')\"}"

WEEK = (
    Story(6, "08:12", "mia", "Read manifests/monday.csv, write a summary to reports/monday.md", (approved(95),)),
    Story(6, "08:40", "odd", "List files in manifests", ()),
    Story(6, "09:05", "mia", f"Is the harbour open on Monday? Fetch {PAGE}", (approved(41),)),
    Story(
        6, "10:20", "odd", 'Search the files for "Lindholm", write a summary to reports/lindholm.md', (approved(220),)
    ),
    Story(
        6,
        "11:02",
        "mia",
        "Tell the harbour how many pallets come.\n" + _POST % "12 pallets for Lindholm on Monday",
        (rejected(64, "Wrong target: the harbour takes this by phone only."),),
    ),
    Story(6, "13:30", "odd", "How many pallets are that?\n" + _COUNT % "12, 6", (approved(150),)),
    Story(6, "15:45", "mia", "Delete reports/template.md", ()),
    Story(5, "08:05", "mia", "Read contacts.txt, write a summary to reports/contacts.md", (approved(33),)),
    Story(
        5,
        "08:55",
        "odd",
        "Put the night gate's number where the drivers find it.\n"
        + _WRITE % ("drivers.txt", "Night gate: +46 31 700 45 99, ask for ebba.nord@harbour.example"),
        (rejected(131, "No private numbers in a file that is printed and hung up."),),
    ),
    Story(5, "09:40", "mia", "Calculate 12 * 14.5 * 3", ()),
    Story(5, "10:15", "odd", f"Download {PAGE}, write a summary to reports/ferry.md", (approved(27), approved(52))),
    Story(5, "14:10", "mia", "Read rates.json, write a summary to reports/rates.md", (EXPIRED,)),
    Story(4, "07:58", "mia", "Read manifests/wednesday.csv, write a summary to reports/wednesday.md", (REMEMBERED,)),
    Story(4, "08:31", "odd", "Read rates.json, write a summary to reports/rates.md", ()),
    Story(4, "09:26", "mia", "How many pallets are that?\n" + _COUNT % "9, 22", (approved(75),)),
    Story(4, "11:18", "odd", f"Get the page {PAGE}", (approved(19),)),
    Story(
        4,
        "13:02",
        "mia",
        "Book the crane.\n" + _POST % "crane, Wednesday 16:00, one hour",
        (approved(340, by="amal"),),
    ),
    Story(4, "16:40", "odd", "Read contacts.txt, write a summary to handover.md", (CANCELLED,)),
    Story(3, "08:20", "mia", "List files, read rates.json", ()),
    Story(3, "09:12", "odd", "Read manifests/wednesday.csv, write a summary to reports/late.md", (approved(88),)),
    Story(3, "10:50", "mia", f"Open {PAGE}", (approved(24),)),
    Story(3, "12:00", "odd", "Read manifests/sunday.csv, write a summary to reports/sunday.md", (approved(61),)),
    Story(
        3,
        "14:25",
        "mia",
        "Write both.\n"
        + "\n".join(
            [_WRITE % ("a.md", "First half"), _WRITE % ("b.md", "Second half"), _WRITE % ("c.md", "Third half")]
        ),
        (approved(58), approved(63), rejected(70, "Three halves? Too much at once: split it.")),
    ),
    Story(2, "08:09", "mia", 'Search the files for "Varberg"', ()),
    Story(2, "09:33", "odd", "How heavy is it?\n" + _COUNT % "4, 18", (approved(205, by="amal"),)),
    Story(2, "10:41", "mia", f"Fetch {PAGE}, write a summary to reports/ferry.md", (approved(22), approved(31))),
    Story(
        2,
        "13:15",
        "odd",
        "Tell the customs.\n" + _POST % "18 pallets, 12040 kg",
        (rejected(45, "Not needed for this job"),),
    ),
    Story(1, "08:02", "mia", "Read manifests/friday.csv, write a summary to reports/friday.md", (approved(37),)),
    Story(1, "09:47", "odd", "Read contacts.txt, write a summary to reports/contacts.md", (approved(29),)),
    Story(1, "11:20", "mia", f"Visit {PAGE}", (approved(17),)),
    Story(1, "15:05", "odd", "Calculate (8420 + 3110) / 18", ()),
)

# What waits when the demo's reviewer first opens the queue: minutes ago in place of days and time.
WAITING = (
    Story(0, "52", "mia", "Tell the harbour that we come late.\n" + _POST % "M-1072 arrives at 18:30", (LEFT,)),
    Story(0, "37", "odd", "Read rates.json, write a summary to reports/template.md", (LEFT,)),
    Story(
        0,
        "21",
        "mia",
        "Leave a note for the night shift.\n"
        + _WRITE % ("night.txt", "Gate code is with Ebba, +46 31 700 45 18 or ebba.nord@harbour.example"),
        (LEFT,),
    ),
    Story(0, "9", "odd", "How many pallets are that?\n" + _COUNT % "4, 18", (LEFT,)),
    Story(0, "3", "mia", f"Is the market hall open? Fetch {PAGE}", (LEFT,)),
)
