r"""Log records of workers, handled by the loggers of the driver.

    worker: logger.info ─ nobody configured ─▶ Forward ─▶ stderr: "\x1d" JSON "\n"
    driver: Display ─ `handle` ─▶ the logger of that name, with its level and handlers
                       └─ no handlers there either ─▶ the message as a line, as ever

Invariant: a worker in which somebody has configured logging is left alone: `Forward` stands where
`logging.lastResort` was, so it sees only what no handler takes. Whatever cannot be read back as a
record is shown as it is.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

MARK = "\x1d"
_TEXT_MAX = 48 << 10  # a longer line would be cut in pieces
_KEPT = ("name", "levelno", "levelname", "pathname", "lineno", "funcName", "created", "threadName")
_PLAIN = (str, int, float, bool, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "name": (str,), "levelno": (int,), "levelname": (str,), "pathname": (str,), "lineno": (int,),
    "funcName": (str, type(None)), "created": (float,), "threadName": (str, type(None)),
    "msg": (str,), "exc_text": (str, type(None)), "stack_info": (str, type(None)),
}  # fmt: skip
"""What a record of `_packed` has; a task may write anything that begins as a record does."""


def driver_level() -> int:
    """Of the driver's root logger: what is below is not worth sending. Imports nothing."""
    logging = sys.modules.get("logging")
    return 30 if logging is None else int(logging.root.level)


def install(level: int) -> None:
    """In a worker: records that no handler of it takes go to the driver, from `level` on."""
    import logging

    usual = logging.lastResort
    known = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    class Forward(logging.Handler):
        """Stands for `logging.lastResort`."""

        def emit(self, record: logging.LogRecord) -> None:
            if sys.stderr is not sys.__stderr__ or sys.stderr is None:  # the user caught it
                if usual is not None:
                    usual.handle(record)
                return
            try:
                sys.stderr.write(f"{MARK}{_packed(record, known)}\n")
            except Exception:
                self.handleError(record)

    logging.lastResort = Forward(level)
    logging.root.setLevel(level)


def _packed(record: logging.LogRecord, known: frozenset[str]) -> str:
    import json
    import logging

    fields: dict[str, Any] = {name: getattr(record, name) for name in _KEPT}
    fields["msg"] = record.getMessage()[:_TEXT_MAX]
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    fields["exc_text"] = (record.exc_text or "")[:_TEXT_MAX] or None
    fields["stack_info"] = record.stack_info
    extra = {name: value for name, value in vars(record).items() if name not in known}
    fields |= {name: value for name, value in extra.items() if isinstance(value, _PLAIN)}
    text = json.dumps(fields)
    if len(text) > _TEXT_MAX:  # what is left of it fits, whatever of it was too long
        kept = {name: fields[name] for name in _KEPT}
        short = fields["msg"][: _TEXT_MAX // 16]
        text = json.dumps({**kept, "msg": short, "exc_text": None, "stack_info": None})
    return text


def handle(line: str, pid: int, label: str) -> str | None:
    """Has the driver's loggers handle a record. Returns what is to be shown instead, if anything.

    The record says its worker as `process` and its task as `processName`.
    """
    import json
    import logging

    try:
        fields = json.loads(line.removeprefix(MARK))
        is_record = all(isinstance(fields[name], kinds) for name, kinds in _KINDS.items())
    except (ValueError, KeyError, TypeError, RecursionError):
        return line
    if not is_record:
        return line
    own = {"process": pid, "processName": label, "args": None, "exc_info": None}
    record = logging.makeLogRecord({**fields, **own})
    logger = logging.getLogger(record.name)
    if not logger.hasHandlers():
        return "\n".join(filter(None, (record.msg, record.exc_text, record.stack_info)))
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
    return None
