"""What goes in and out over HTTP, as pydantic models. Fields may be added, never renamed or dropped."""
