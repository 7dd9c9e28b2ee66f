"""The only signal of the house: a bell that carries ids up a floor, after the commit. Receivers read the rows."""

from __future__ import annotations

from django.dispatch import Signal

# Sent with `gate_id` and `run_id` (UUIDs) after a gate was approved, rejected, expired, lapsed or undone.
gate_decided = Signal()
