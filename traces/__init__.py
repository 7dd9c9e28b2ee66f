"""Floor 1: what happened, redacted and kept."""
