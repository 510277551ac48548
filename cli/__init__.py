"""The `rigbeat` command: everything over the HTTP API, and `up`, which runs the whole system on one machine."""
