"""Floor 2: policy, gates, decisions, permits."""
