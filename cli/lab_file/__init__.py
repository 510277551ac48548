"""Deployments and locks as a file declares them: read, compared, planned, written. No file, no network, no clock."""
