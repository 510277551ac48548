"""What the API decides, without I/O."""
