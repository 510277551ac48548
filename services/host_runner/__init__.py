"""The host runner: one per device host. Decides whether a run may start now, runs it, and says what became of it."""
