"""A virtual set-top box: real state behind a small HTTP server. Standard library only."""
