"""A file's change as the lines of a unified diff, rendered for a reviewer. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from approvals.rendering import Part, Renderer, Segment, lines_of, visible

CONTEXT_LINES = 3
# Line pairs above which the middle is shown as one replacement: the matcher is quadratic at worst.
_MATCHED_PAIRS = 4_000_000

Line = dict[str, Any]
Op = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class FileChange:
    """What a call does to one file: its present text and its text afterwards.

    `old` is None where there is no file, `new` None where the file is deleted. `note` tells what a text can't, for
    example that the present file is not text.
    """

    path: str
    old: str | None
    new: str | None
    note: str = ""


@dataclass(frozen=True)
class _Rendered:
    """One side: the raw lines that are compared, and what is shown of each."""

    keys: list[str]
    shown: list[list[Segment]]


def file_section(renderer: Renderer, change: FileChange) -> dict[str, Any]:
    """The documented File section (`docs/reference/presentation.md`): a unified diff with three lines of context."""
    old, new = _side(renderer, change.old or ""), _side(renderer, change.new or "")
    ops = _opcodes(old.keys, new.keys)
    lines = list(_lines(ops, old, new))
    return {
        "path": renderer.text(change.path).as_dict(),
        "created": change.old is None and change.new is not None,
        "deleted": change.new is None,
        "unchanged": change.old == change.new and not change.note,
        "added": sum(line["op"] == "+" for line in lines),
        "removed": sum(line["op"] == "-" for line in lines),
        "lines": lines,
        "note": renderer.redact(visible(" ".join(filter(None, [change.note, _end_note(change)])))),
    }


def changed_lines(old: list[Part], new: list[Part]) -> list[Line]:
    """The lines in which two rendered texts differ, as in a File section."""
    before, after = _rendered(old), _rendered(new)
    return list(_lines(_opcodes(before.keys, after.keys), before, after))


def _side(renderer: Renderer, text: str) -> _Rendered:
    return _rendered(renderer.parts(text))


def _rendered(parts: list[Part]) -> _Rendered:
    lines = lines_of(parts)
    return _Rendered([raw for raw, _ in lines], [segments for _, segments in lines])


def _end_note(change: FileChange) -> str:
    if not change.new:
        return ""
    had = change.old is None or change.old == "" or change.old.endswith("\n")
    has = change.new.endswith("\n")
    if had and not has:
        return "The last line has no line feed."
    return "A line feed is added to the last line." if has and not had else ""


def _opcodes(old: list[str], new: list[str]) -> list[Op]:
    """Like `SequenceMatcher.get_opcodes`, with the equal ends taken off first and a bound on the work."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    if len(middle_old) * len(middle_new) > _MATCHED_PAIRS:
        middle: list[Op] = [("replace", 0, len(middle_old), 0, len(middle_new))]
    else:
        middle = list(SequenceMatcher(None, middle_old, middle_new, autojunk=False).get_opcodes())
    ops: list[Op] = [("equal", 0, start, 0, start)] if start else []
    ops += [(tag, a + start, b + start, c + start, d + start) for tag, a, b, c, d in middle]
    if end:
        ops.append(("equal", len(old) - end, len(old), len(new) - end, len(new)))
    return ops


def _hunks(ops: list[Op]) -> Iterator[list[Op]]:
    """The operations in groups with at most `CONTEXT_LINES` equal lines around them."""
    if all(op[0] == "equal" for op in ops):
        return
    group: list[Op] = []
    for position, (tag, a, b, c, d) in enumerate(ops):
        if tag != "equal":
            group.append((tag, a, b, c, d))
            continue
        first, last = position == 0, position == len(ops) - 1
        if not first and not last and b - a <= 2 * CONTEXT_LINES:
            group.append((tag, a, b, c, d))
            continue
        if not first:
            group.append((tag, a, min(b, a + CONTEXT_LINES), c, min(d, c + CONTEXT_LINES)))
            yield group
            group = []
        if not last:
            group = [(tag, max(a, b - CONTEXT_LINES), b, max(c, d - CONTEXT_LINES), d)]
    if any(op[0] != "equal" for op in group):
        yield group


def _lines(ops: list[Op], old: _Rendered, new: _Rendered) -> Iterator[Line]:
    for hunk in _hunks(ops):
        a, b, c, d = hunk[0][1], hunk[-1][2], hunk[0][3], hunk[-1][4]
        header = f"@@ -{a + (b > a)},{b - a} +{c + (d > c)},{d - c} @@"
        yield {"op": "@", "old": None, "new": None, "segments": [{"kind": "text", "text": header}]}
        for tag, old_from, old_to, new_from, new_to in hunk:
            if tag == "equal":
                for offset in range(old_to - old_from):
                    at, to = old_from + offset, new_from + offset
                    yield {"op": " ", "old": at + 1, "new": to + 1, "segments": new.shown[to]}
                continue
            for at in range(old_from, old_to):
                yield {"op": "-", "old": at + 1, "new": None, "segments": old.shown[at]}
            for to in range(new_from, new_to):
                yield {"op": "+", "old": None, "new": to + 1, "segments": new.shown[to]}
