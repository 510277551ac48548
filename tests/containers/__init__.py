"""Against servers in containers: needs an engine."""
