"""Replays a run: recorded replies and results are fed to today's engine and judged by today's policy, with no effect.

Nothing is written, no tool runs and no approval is used; in a live replay the model is asked anew, and its calls get
the recorded results. Inside: `tape` (what was recorded), `playing` (the engine), `live` (replays that a worker does).
What came of a replay is compared with the trace on the floor that keeps it (`traces.replay`).
"""

from __future__ import annotations

from agents.replay.access import can_replay, can_replay_live, check_replay, check_replay_live
from agents.replay.live import lost, note_live, perform, request, ring_again
from agents.replay.playing import Report, replay

__all__ = [
    "Report",
    "can_replay",
    "can_replay_live",
    "check_replay",
    "check_replay_live",
    "lost",
    "note_live",
    "perform",
    "replay",
    "request",
    "ring_again",
]
