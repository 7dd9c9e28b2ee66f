"""`manage.py export_trace`: write a trace to standard output, or send it to an OTLP/HTTP endpoint."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from typing import Any
from uuid import UUID

import httpx
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from traces import export
from traces.errors import TraceError

_TIMEOUT = 15.0
_HEADER = re.compile(r"([A-Za-z0-9_-]+)=([\x20-\x7e]+)")
_CONTENT_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:
        message = "write it as name=value, in ASCII"
        raise ArgumentTypeError(message)
    return found[1], found[2].strip()


class Command(BaseCommand):
    help = "Export a trace: redacted under today's rules, people pseudonymised, noted in the ledger."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=UUID, help="the run's id")
        parser.add_argument("--format", choices=[form.value for form in export.Format], default="jsonl")
        parser.add_argument(
            "--encoding", choices=list(_CONTENT_TYPES), default="protobuf", help="how it is sent with --to"
        )
        parser.add_argument(
            "--to", metavar="URL", help="an OTLP/HTTP endpoint, such as http://127.0.0.1:4318/v1/traces"
        )
        parser.add_argument(
            "--header",
            metavar="NAME=VALUE",
            action="append",
            default=[],
            type=_header,
            help="a header for the endpoint, such as 'authorization=Bearer …'; may be given more than once",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Export one run.

        Raises:
            CommandError: there is no such trace, or the endpoint does not take it.
        """
        form = export.Format.OTLP if options["to"] else export.Format(options["format"])
        try:
            found = export.of_run(options["run"], form)
            with transaction.atomic(durable=True):
                export.note(found, "manage.py", timezone.now(), options["to"] or "standard output")
        except TraceError as error:
            raise CommandError(str(error)) from error
        if options["to"]:
            self._send(options["to"], found.content, options["encoding"], options["header"])
        else:
            self.stdout.write(found.content.decode(), ending="")

    def _send(self, endpoint: str, content: bytes, encoding: str, others: list[tuple[str, str]]) -> None:
        body = export.as_protobuf(content) if encoding == "protobuf" else content
        headers = {**dict(others), "Content-Type": _CONTENT_TYPES[encoding]}
        try:
            answer = httpx.post(endpoint, content=body, headers=headers, timeout=_TIMEOUT)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            message = f"{endpoint} did not take the trace: {error}"
            raise CommandError(message) from error
        self.stdout.write(f"sent to {endpoint}")
