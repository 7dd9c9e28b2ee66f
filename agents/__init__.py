"""Floor 3: agents, runs, tools and the sandbox."""
