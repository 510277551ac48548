"""The API: HTTP for people and programs, and the ingest of what hosts say."""
