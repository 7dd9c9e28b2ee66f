"""A week of lifelike work for the demo, so that every screen has something to see on the first visit.

`stories` says what people asked for and how it was decided; `week` plays that through the real engine: each job is
submitted, stopped, signed, redeemed and run in the sandbox as any other, under a clock that stands in the past.
"""
