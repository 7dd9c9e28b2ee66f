"""The egress broker: the one process from which a tool's requests reach a network."""
