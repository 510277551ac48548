"""Rigbeat in one process: its pure cores, a fake clock, and a network that loses order, duplicates and delays.

Real are the decisions of the scheduler (`libs.schedule.plan`), of the host (`services.host_runner.core` with the
`Runner` around it) and of the ledger's fold (`services.api.core.projection`, `services.api.core.edit`), and the
messages. What exists as SQL only has a small model here; each method of a model names the statement that it follows.
Broker, disk, scripts and people are models too.

`make simulate SEED=7` runs one world.
"""
