"""A call in full as text, for a terminal: the same presentation that the queue's page shows, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MARGIN = "    "


def text_of(block: Mapping[str, Any]) -> str:
    """A presentation block as text, masked values as `[redacted: label]`."""
    return _joined(block["segments"])


def _joined(segments: Sequence[Mapping[str, str]]) -> str:
    return "".join(
        f"[redacted: {segment['label']}]" if segment["kind"] == "chip" else segment["text"] for segment in segments
    )


def printed(view: Mapping[str, Any]) -> str:
    """`ApprovalGate.presentation` (docs/reference/presentation.md) as lines of text, complete."""
    sections = [_heading(view), _warnings(view), _change(view), _file(view), _request(view), _arguments(view)]
    sections += [_why(view), _sandbox(view), _steps(view)]
    return "\n\n".join(text for lines in sections if (text := "\n".join(lines)))


def _indented(text: str) -> str:
    return "\n".join(f"{_MARGIN}{line}" for line in text.split("\n"))


def _heading(view: Mapping[str, Any]) -> Iterator[str]:
    yield text_of(view["sentence"])
    who = f"{view['agent']['name']} asks, in a job of {view['submitter']['name']}"
    yield f"{view['tool']['name']}, {view['risk']} risk. {view['reversibility']['text']} {who}."


def _warnings(view: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"! {warning['text']}" for warning in view["warnings"])


def _change(view: Mapping[str, Any]) -> Iterator[str]:
    change = view.get("change")
    if not change:
        return
    yield f"What {change['edit']['by']} changed:" if change.get("edit") else "What changed since it was approved:"
    for difference in change["differences"]:
        yield f"{_MARGIN}{difference['pointer']} {difference['text']}".rstrip()
        yield from _lines(difference.get("lines") or ())
        for sign, side in (("-", "before"), ("+", "after")):
            if difference.get(side):
                yield from (f"{_MARGIN}{sign} {line}" for line in text_of(difference[side]).split("\n"))


def _lines(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from (f"{_MARGIN}{line['op']} {_joined(line['segments'])}" for line in lines)


def _file(view: Mapping[str, Any]) -> Iterator[str]:
    file = view["file"]
    if not file:
        return
    yield f"File {text_of(file['path'])}: +{file['added']} -{file['removed']} lines"
    if file["note"]:
        yield f"{_MARGIN}{file['note']}"
    yield from _lines(file["lines"])


def _request(view: Mapping[str, Any]) -> Iterator[str]:
    request = view["request"]
    if not request:
        return
    yield f"Request: {request['method']} {text_of(request['url'])}"
    if request["host"]["unusual"]:
        yield f"{_MARGIN}! connects to {request['host']['ascii']}"
    for header in request["headers"]:
        yield f"{_MARGIN}{text_of(header['name'])}: {text_of(header['value'])}"
    if request["body"]:
        yield from ("", _indented(text_of(request["body"])))


def _arguments(view: Mapping[str, Any]) -> Iterator[str]:
    yield "All arguments:" if view["arguments"] else "It takes no arguments."
    for argument in view["arguments"]:
        text = text_of(argument["block"])
        lone = "\n" not in text
        yield f"{_MARGIN}{argument['name']}: {text}" if lone else f"{_MARGIN}{argument['name']}:"
        if not lone:
            yield _indented(_indented(text))


def _why(view: Mapping[str, Any]) -> Iterator[str]:
    why = view["why"]
    yield f"Why it asks: {text_of(why['reason'])} (rule {why['rule']}, {why['level']})"


def _sandbox(view: Mapping[str, Any]) -> Iterator[str]:
    if view["sandbox"]:
        yield "What will hold it:"
    for fact in view["sandbox"]:
        yield f"{_MARGIN}{fact['label']}: {text_of(fact['text'])}"


def _steps(view: Mapping[str, Any]) -> Iterator[str]:
    if view["steps"]:
        yield "Just before:"
    for step in view["steps"]:
        yield f"{_MARGIN}{text_of(step['title'])}"
        if detail := text_of(step["detail"]):
            yield _indented(_indented(detail))
