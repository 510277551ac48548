"""What a host decides, pure: no clock, no file, no socket."""
