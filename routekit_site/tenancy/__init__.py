"""Ground floor: who people are, which tenant they work in and what they may do there."""
