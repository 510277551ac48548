"""What the services share, each folder one thing."""
