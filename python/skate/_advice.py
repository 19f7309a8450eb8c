"""What errors say beside what happened: who else is affected, and what to do next.

Invariant: it only adds: the words that programs written for Ray match stay as they are, in front.
"""

from __future__ import annotations


def inherited(
    error: BaseException, tasks: tuple[str, ...], skipped: int, actor_id: str | None
) -> BaseException:
    """What the refs of tasks raise that did not run because of an error. Called by the Rust side.

    Args:
        error: Of the task that failed.
        tasks: Each takes the result of the one before, the first that of the failed one.
        skipped: How many are not named, before the last one.
        actor_id: Hex id of the actor whose constructor was among them.

    Returns:
        The error itself, with a note; or, of an actor, its end.
    """
    failed = getattr(error, "function_name", None)
    first, *rest = tasks
    if skipped:
        rest.insert(-1, f"{skipped} more")
    source = f"{failed}()" if failed else "that task"
    text = f"{first}() did not run, because it takes the result of {source}"
    if rest:
        others = [name if name.endswith(" more") else f"{name}()" for name in rest]
        text += f"; nor did {', '.join(others)} after it"
    if actor_id is not None:
        from skate._actor_worker import init_error

        error = init_error(error, actor_id)
    error.add_note(f"{text}.")
    return error


_BY_SKATE = "ended by skate"
"""How the node's own reason for a kill begins (rust/native/src/host/workers.rs)."""
_ADVICE_AFTER_DEATH = {
    "signal 9": (
        "Something outside of it killed it; if that was the kernel, for want of memory, `dmesg` "
        "says so. Then run fewer tasks at once (num_cpus) or let each use less"
    ),
    "exit code": "It called sys.exit or os._exit: return, or raise an exception, instead",
}
_ADVICE_AFTER_SIGNAL = (
    "Code that is not Python crashed; what it wrote to stderr says where. "
    "init(local_mode=True) runs it in this process, under a debugger"
)


def after_death(death: str) -> str:
    """`. What to do next.`, or nothing."""
    if _BY_SKATE in death:
        return ""
    for how, advice in _ADVICE_AFTER_DEATH.items():
        if how in death:
            return f". {advice}."
    return f". {_ADVICE_AFTER_SIGNAL}." if "(SIG" in death and "SIGTERM" not in death else ""
