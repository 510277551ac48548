"""The product's own log lines say nothing here: there would be millions."""

from __future__ import annotations

import logging

import structlog


def be_quiet() -> None:
    """From now on nothing below CRITICAL is logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
