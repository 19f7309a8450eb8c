"""The state of the session as rows of data: Ray's state API, answered by the node at once.

    list_*, get_*, summarize_*   _listing    tables of tasks, actors, objects, workers, ...
    why                          _why        the chain of what something waits for
    list_unhandled_errors        _unhandled  errors that nobody fetched

There is no other process to ask and nothing to wait for: what an answer says was true of all tables
at one moment, while the node made it.
"""

from __future__ import annotations

from skate.util.state._listing import (
    get_actor,
    get_job,
    get_node,
    get_objects,
    get_placement_group,
    get_task,
    get_worker,
    list_actors,
    list_jobs,
    list_nodes,
    list_objects,
    list_placement_groups,
    list_streams,
    list_tasks,
    list_workers,
    summarize_actors,
    summarize_objects,
    summarize_tasks,
)
from skate.util.state._unhandled import UnhandledError, list_unhandled_errors
from skate.util.state._why import Why, WhyStep, why

__all__ = [
    "UnhandledError",
    "Why",
    "WhyStep",
    "get_actor",
    "get_job",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_task",
    "get_worker",
    "list_actors",
    "list_jobs",
    "list_nodes",
    "list_objects",
    "list_placement_groups",
    "list_streams",
    "list_tasks",
    "list_unhandled_errors",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_tasks",
    "why",
]
