"""Where log lines go and how they look: one line per event on standard error, for people or for machines."""

import logging
import sys
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import Processor

from tertulia.cli.streams import Forgiving

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(level: Literal["debug", "info", "warning", "error"], log_format: str) -> None:
    """Set up structlog and the standard library's logging, which uvicorn and the SDKs use, for the whole process."""
    stream = cast("TextIO", Forgiving(sys.stderr))
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        ),
    )
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[level], logging.WARNING), force=True)
    # Others' debug lines may hold prompts, so they stay out even when our own are asked for.
    logging.getLogger("tertulia").setLevel(_LEVELS[level])
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_says_more_than_that_it_failed)


def _says_more_than_that_it_failed(record: logging.LogRecord) -> bool:
    """The reason of a failed start has just been told, or is about to be."""
    return record.getMessage() != "Application startup failed. Exiting."
