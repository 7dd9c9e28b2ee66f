"""What an agent may do: the tools. Their code runs only inside the sandbox; anyone above may read their manifests."""
