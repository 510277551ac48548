"""The test build of the services: told from outside to die, hang, answer late or lie at named places.

`python -m tests.faults.build services.scheduler` is `python -m services.scheduler` with the seams of `points.py`
wrapped. The product holds nothing of it: no call, no variable, no import. A wheel has no `tests`, so production cannot
reach it.
"""
