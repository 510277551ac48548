"""The ingest: a process of its own beside the web workers, which folds what hosts say into the ledger.

Three consumers: `results` (facts, hellos, devices, answers to commands), `presence` (heartbeats) and `dead_letters`.
None decides anything; they write down what hosts say and what the broker gave up.
"""
