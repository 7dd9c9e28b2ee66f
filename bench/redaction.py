"""The goals of redaction, measured beside the peers that are installed: RouteKitAI, Presidio, scrubadub.

    python -m bench.redaction [corpus.jsonl[.xz]]

The corpus has one JSON object a line: `text`, `kind` (`pos` or `neg`) and `spans` (`start`, `end`, `label`). Without
one, speed, hostile texts and the standard library are measured alone. Peers come with the `bench` extra, best in a
virtual environment of their own. A span is covered only when all of it is; F1 counts covered spans, and findings that
touch none.
"""

from __future__ import annotations

import importlib
import json
import logging
import lzma
import random
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from traces.redaction import PIIRedactionHook, Redactor

DOCUMENT_BYTES = 100_000
HOSTILE_CHARACTERS = 64 << 10
HOSTILE_UNITS = [
    *(
        "a@",
        "a@a.",
        "1-",
        "1 ",
        '"""',
        "\\",
        "password=",
        "token=",
        "eyJ",
        "sk-",
        "AKIA",
        "+1",
        "555 555 5555 ",
        "4111 ",
    ),
    *("phone: 1234567 ", "passport 1", "1.1.1.1 ", "::", "-----BEGIN PRIVATE KEY-----", "x://a:b@", "DE00 ", "{", "é:"),
]
WORDS = (
    "the agent called a tool and wrote back its result to the user who asked for a summary of changes in the project"
)


class Engine(NamedTuple):
    """A redactor to measure: where it finds something in a text, and what it makes of a JSON value."""

    name: str
    find: Callable[[str], Iterable[tuple[int, int]]]
    redact: Callable[[Any], Any]
    looks_for_ips: bool = True


class Record(NamedTuple):
    """One labelled text."""

    text: str
    clean: bool
    spans: list[tuple[int, int]]
    holds_ip: bool


def ours(*, redact_ips: bool = True) -> Engine:
    redactor = PIIRedactionHook(redact_ips=redact_ips).compile()
    return Engine(
        f"RouteKit Site, {'IPs too' if redact_ips else 'defaults'}",
        lambda text: [(span.start, span.end) for span in redactor.spans(text)],
        redactor.redact,
        redact_ips,
    )


def ours_by_default() -> Engine:
    """Make ours as it is where nobody sets anything: addresses of machines are left."""
    return ours(redact_ips=False)


def each_text(redact: Callable[[str], str]) -> Callable[[Any], Any]:
    """Make a redactor of texts one of JSON values."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    return walk


def routekitai() -> Engine:
    hook = importlib.import_module("routekitai.core.hooks").PIIRedactionHook()
    patterns = (hook._email_pattern, hook._phone_pattern)  # noqa: SLF001  it has no way to ask for spans

    def find(text: str) -> Iterator[tuple[int, int]]:
        for pattern in patterns:
            yield from (match.span() for match in pattern.finditer(text))

    return Engine("RouteKitAI", find, each_text(hook.redact))


def presidio() -> Engine:
    logging.getLogger("tldextract").setLevel(logging.CRITICAL)  # which asks the network for a list
    analyzer_module = importlib.import_module("presidio_analyzer")
    nlp = importlib.import_module("presidio_analyzer.nlp_engine")
    spacy = importlib.import_module("spacy")
    engine = nlp.SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.nlp = {"en": spacy.blank("en")}
    analyzer = analyzer_module.AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    # What is no personal number or secret is left out, and so are guesses, which would count against it.
    entities = sorted(set(analyzer.get_supported_entities()) - {"DATE_TIME", "URL", "LOCATION", "NRP", "PERSON"})

    def find(text: str) -> list[tuple[int, int]]:
        found = analyzer.analyze(text, language="en", entities=entities, score_threshold=0.4)
        return [(result.start, result.end) for result in found]

    return Engine("Presidio, blank spaCy", find, each_text(lambda text: replaced(text, find(text))))


def scrubadub() -> Engine:
    scrubber = importlib.import_module("scrubadub").Scrubber()

    def find(text: str) -> list[tuple[int, int]]:
        return [(filth.beg, filth.end) for filth in scrubber.iter_filth(text)]

    return Engine("scrubadub", find, each_text(scrubber.clean))


def replaced(text: str, spans: Iterable[tuple[int, int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + "[REDACTED]" + text[end:]
    return text


def engines() -> Iterator[Engine]:
    for make in (ours_by_default, ours, routekitai, presidio, scrubadub):
        try:
            yield make()
        except ImportError as error:
            print(f"({make.__name__} is not installed: {error.name})", file=sys.stderr)


def read(path: Path) -> list[Record]:
    data = path.read_bytes()
    lines = (lzma.decompress(data) if path.suffix == ".xz" else data).splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        Record(
            row["text"],
            row["kind"] == "neg",
            [(span["start"], span["end"]) for span in row["spans"]],
            any(span["label"] == "IP" for span in row["spans"]),
        )
        for row in rows
    ]


def quality(engine: Engine, records: list[Record]) -> tuple[float, float, float]:
    """Return F1, the share of spans not wholly covered, and the share of clean records that something is found in.

    Of an engine that is told to leave IP addresses, over the records without any.
    """
    records = [record for record in records if engine.looks_for_ips or not record.holds_ip]
    covered = spurious = total = altered = 0
    for record in records:
        found = list(engine.find(record.text))
        total += len(record.spans)
        covered += sum(any(a <= start and end <= b for a, b in found) for start, end in record.spans)
        spurious += sum(not any(a < end and start < b for start, end in record.spans) for a, b in found)
        altered += record.clean and bool(found)
    recall, precision = covered / total, covered / max(1, covered + spurious)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    return f1, 1 - recall, altered / max(1, sum(record.clean for record in records))


def leak_in_json(records: list[Record]) -> float:
    """Return the share of values that are readable in the redacted JSON-in-JSON form of their record."""
    redact, leaks, total = ours().redact, 0, 0
    for record in records:
        shown = str(redact({"arguments": json.dumps({"text": record.text})}))
        total += len(record.spans)
        leaks += sum(json.dumps(record.text[start:end])[1:-1] in shown for start, end in record.spans)
    return leaks / total


def document(texts: list[str]) -> dict[str, Any]:
    """Return a trace of about 100 KB of JSON with the texts as its messages."""
    messages: list[dict[str, Any]] = []
    size = 0
    for index in range(1_000_000):
        message = {"role": "user", "content": texts[index % len(texts)], "id": index * 7919, "usage": {"tokens": 123}}
        messages.append(message)
        size += len(orjson.dumps(message))
        if size >= DOCUMENT_BYTES:
            break
    return {"messages": messages}


def prose(count: int) -> list[str]:
    words, chance = WORDS.split(), random.Random(3)  # noqa: S311  texts, not keys
    return [" ".join(chance.choice(words) for _ in range(40)) for _ in range(count)]


def speed(engine: Engine, value: Any, seconds: float = 2.0) -> float:
    """Return the best rate in MB of JSON a second of CPU time."""
    size, best, spent = len(orjson.dumps(value)) / 1e6, float("inf"), 0.0
    while spent < seconds:
        began = time.thread_time()
        engine.redact(value)
        taken = time.thread_time() - began
        best, spent = min(best, taken), spent + taken
    return size / best


def hostile() -> tuple[float, str]:
    """Return the longest time that a hostile text of 64 KB took, in ms of CPU time, and its unit."""
    plain = PIIRedactionHook(redact_ips=True).compile()
    bait = PIIRedactionHook(redact_patterns=(("a.*z|a", "[X]"),)).compile()
    cases = [(plain, unit) for unit in HOSTILE_UNITS] + [(bait, unit) for unit in ("a", "az", "z")]
    return max((min(one_run(redactor, unit) for _ in range(3)), unit) for redactor, unit in cases)


def one_run(redactor: Redactor, unit: str) -> float:
    text = (unit * HOSTILE_CHARACTERS)[:HOSTILE_CHARACTERS]
    began = time.thread_time()
    redactor.redact(text)
    return (time.thread_time() - began) * 1e3


def standard_library() -> float:
    """Return how often something that is no e-mail address is found in a MB of Python's standard library."""
    redactor, flags, size = PIIRedactionHook().compile(), 0, 0
    for path in Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"):
        if not {"site-packages", "test", "tests", "idle_test"} & set(path.parts):
            text = path.read_text(encoding="utf-8", errors="replace")
            size += len(text)
            flags += sum(span.label != "EMAIL" for span in redactor.spans(text))
    return flags / size * 1e6


def main(arguments: list[str]) -> None:
    records = read(Path(arguments[0])) if arguments else []
    dense = document(
        [record.text for record in records] or [f"{text} bob{n}@example.com" for n, text in enumerate(prose(50))]
    )
    sparse = document([text + " mail bob@example.com" * (n % 5 == 0) for n, text in enumerate(prose(50))])
    clean = document(prose(50))
    print("| engine | F1 | leak | clean altered | MB/s, corpus | MB/s, a value in 5 messages | MB/s, nothing found |")
    print("|---|---|---|---|---|---|---|")
    for engine in engines():
        f1, leak, altered = quality(engine, records) if records else (float("nan"),) * 3
        rates = " | ".join(f"{speed(engine, value):.3g}" for value in (dense, sparse, clean))
        print(f"| {engine.name} | {f1:.4f} | {leak:.2%} | {altered:.2%} | {rates} |", flush=True)
    if records:
        print(f"\nLeak inside JSON in JSON: {leak_in_json(records):.2%}")
    worst, unit = hostile()
    print(f"Slowest hostile text of 64 KB: {worst:.0f} ms ({unit!r})")
    print(f"Flags per MB of the standard library: {standard_library():.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
