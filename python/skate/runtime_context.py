"""`get_runtime_context()`: where this code runs.

Invariant: ids are hex strings; what does not exist here (a task on the driver, an actor) is None.
"""

from __future__ import annotations

import os
import sys

from skate import _devices, _ids, _placing, _session
from skate._actor_handle import ActorHandle, spec_of
from skate._group import current_key, plain_amounts
from skate._options import UNITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from skate._engine import Client
    from skate.runtime_env import RuntimeEnv


class RuntimeContext:
    """Where this code runs. Made by `get_runtime_context`.

    Rule: semantics.md 5.4.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self) -> dict[str, Any]:
        """The ids that there are, by name."""
        ids = {
            "job_id": self.get_job_id(),
            "node_id": self.get_node_id(),
            "namespace": self.namespace,
        }
        task_id = self.get_task_id()
        if task_id is not None:
            ids["task_id"] = task_id
        actor_id = self.get_actor_id()
        return ids if actor_id is None else {**ids, "actor_id": actor_id}

    def get_job_id(self) -> str:
        """8 hex digits."""
        return _ids.job_id(self._client)

    def get_node_id(self) -> str:
        """56 hex digits."""
        return _ids.node_id(self._client)

    @property
    def job_id(self) -> _ids.JobID:
        """Ray's older word for `get_job_id`."""
        return _ids.JobID.from_hex(self.get_job_id())

    @property
    def node_id(self) -> _ids.NodeID:
        """Ray's older word for `get_node_id`."""
        return _ids.NodeID.from_hex(self.get_node_id())

    @property
    def task_id(self) -> _ids.TaskID | None:
        """Ray's older word for `get_task_id`."""
        task_id = self.get_task_id()
        return None if task_id is None else _ids.TaskID.from_hex(task_id)

    @property
    def actor_id(self) -> _ids.ActorID | None:
        """Ray's older word for `get_actor_id`."""
        actor_id = self.get_actor_id()
        return None if actor_id is None else _ids.ActorID.from_hex(actor_id)

    def get_worker_id(self) -> str:
        """56 hex digits; the driver has one too."""
        return _ids.worker_id(self._client)

    def get_task_id(self) -> str | None:
        """48 hex digits; None on the driver."""
        task = self._client.current_task()
        return task[0] if task else None

    def get_task_name(self) -> str | None:
        """What `name=` said, or the function's name; None on the driver."""
        task = self._client.current_task()
        return task[1] if task else None

    def get_attempt_number(self) -> int | None:
        """0 for the first run of the task, more for retries; None on the driver."""
        task = self._client.current_task()
        return task[2] if task else None

    def get_task_function_name(self) -> str | None:
        """`module.function` or `module.Class.method` of what runs; None on the driver.

        The driver's script is called by its file.

        Rule: as Ray 2.60.
        """
        function = self._client.current_function()
        if function is None:
            return None
        module, name = function.__module__, function.__name__
        owner = getattr(function, "__self__", None)
        if owner is not None:
            cls = owner if isinstance(owner, type) else type(owner)
            module, name = cls.__module__, f"{cls.__name__}.{name}"
        if module == "__main__":
            module = _script() or module
        return f"{module}.{name}"

    def get_assigned_resources(self) -> dict[str, float]:
        """What the running task or actor holds, by name; in a placement group, of its bundles."""
        if self._client.current_task() is None:
            _only_in_worker("get_assigned_resources")
        return {name: n / UNITS for name, n in plain_amounts(self._client.current_resources())}

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """What `get_gpu_ids` gives, as text, by the family `"GPU"`; other families have none here.

        Rule: as Ray 2.60.
        """
        return {
            family: [str(each) for each in _devices.get_gpu_ids()] if family == "GPU" else []
            for family in _devices.FAMILIES
        }

    def get_resource_ids(self) -> dict[str, list[str]]:
        """Ray's older word for `get_accelerator_ids`."""
        return self.get_accelerator_ids()

    def get_actor_id(self) -> str | None:
        """32 hex digits; None outside of actors."""
        return self._client.own_actor_id()

    def get_actor_name(self) -> str | None:
        """What `name=` said, "" if nothing; None outside of actors."""
        found = self._client.ActorRef.own(self._client)
        return None if found is None else found[2]

    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A handle on the actor that this code runs in; it does not keep it alive.

        Raises:
            RuntimeError: this code does not run in an actor.
        """
        found = self._client.ActorRef.own(self._client)
        if found is None:
            msg = "This method is only available in an actor."
            raise RuntimeError(msg)
        ref, packed, _ = found
        assert packed is not None  # noqa: S101 - only a new one comes without
        return ActorHandle(ref, spec_of(packed))

    def get_placement_group_id(self) -> str | None:
        """Hex id of the placement group that this code runs in; None outside of groups."""
        return current_key(self._client)

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether what is started here, and names no strategy, runs in the same group."""
        return current_key(self._client, captured=True) is not None

    @property
    def current_placement_group_id(self) -> _ids.PlacementGroupID:
        """Ray's older word for `get_placement_group_id`; nil outside of groups."""
        key = self.get_placement_group_id()
        return _ids.PlacementGroupID.from_hex(key) if key else _ids.PlacementGroupID.nil()

    def get_runtime_env_string(self) -> str:
        """The `runtime_env` that is in force here, as JSON; `{}` for the driver's."""
        from skate._runtime_env import current

        if not current:
            return "{}"
        import json

        return json.dumps(current)

    @property
    def runtime_env(self) -> RuntimeEnv:
        """What `get_runtime_env_string` writes."""
        from skate._runtime_env import current
        from skate.runtime_env import RuntimeEnv

        env = RuntimeEnv()
        env.update(current)  # checked long ago, perhaps in another directory
        return env

    def get_node_labels(self) -> dict[str, str]:
        """What `init(labels=…)` said, and the node's id as `"ray.io/node-id"`."""
        return _placing.labels(self._client)

    def get_session_name(self) -> str:
        """`session_` and 16 hex digits, fresh for every `init`."""
        return f"session_{self._client.session}"

    @property
    def namespace(self) -> str:
        """For names of actors."""
        return _session.current_namespace

    @property
    def gcs_address(self) -> str:
        """`local`: there is no server."""
        return "local"

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor that this code runs in was started again after a crash."""
        return self._client.was_restarted()

    def is_canceled(self) -> bool:
        """Whether `cancel` was called for the running task.

        Raises:
            RuntimeError: on the driver.
        """
        if self._client.is_driver:
            _only_in_worker("is_canceled")
        return self._client.is_canceled()


def _script() -> str | None:
    """Name of the module that the driver's script would be; None if it is no file of Python."""
    stem, suffix = os.path.splitext(os.path.basename((sys.argv or [""])[0]))  # noqa: PTH119, PTH122 - slow
    return stem if suffix == ".py" else None


def _only_in_worker(method: str) -> NoReturn:
    msg = f"{method}: This method is only available when the process is a worker, inside of a task."
    raise RuntimeError(msg)


def get_runtime_context() -> RuntimeContext:
    """Where this code runs. Starts a session when there is none."""
    return RuntimeContext(_session.connect())
