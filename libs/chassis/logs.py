"""Structured logs of a process: a sentence plus machine fields, to standard error, console or JSON.

Standard output stays free for what a program has to say to people. Times are UTC, RFC 3339. What the libraries log
through `logging` (aio_pika, asyncpg, uvicorn) takes the same way.
"""

from __future__ import annotations

import logging
import sys
from typing import cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from libs.chassis import console

# They bring handlers of their own, which would print every line a second time.
_WITH_OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access")
# Reports every lost connection with a traceback, where the session says it in one line; only it knows of blocking.
_TALKATIVE = "aiormq.connection"


def configure(service: str, log_format: str) -> None:
    """Send all logs of this process to standard error; `log_format` is `console` or `json`. May be called again."""

    def of_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        of_service,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in _WITH_OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger(_TALKATIVE).filters[:] = [_says_blocked]


def _says_blocked(record: logging.LogRecord) -> bool:
    return "blocked" in str(record.msg)


def _rendering(log_format: str) -> list[Processor]:
    match log_format:
        case "json":
            return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        case "console":
            return [
                console.harmless,
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=console.traceback),
            ]
        case _:
            raise ValueError(f"log format must be 'console' or 'json', not {log_format!r}")


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for one module (`__name__`); usable before `configure`, too."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))
