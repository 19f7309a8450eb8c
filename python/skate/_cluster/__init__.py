"""The engine of `init(address=...)`: a Ray cluster, through the Ray that is installed here.

    .remote() ─▶ Template, ActorRef ─▶ ray.remote ─▶ a worker of Ray: `worker` calls the function
    get, wait, next ─▶ Client, Streaming, Dynamic ─▶ ray.get, ray.wait ─▶ values, skate's errors

It stands behind the same seam as the node (`_engine`). What a ref keeps is Ray's own ref, so Ray
counts. Inside of its tasks the same engine is there, without being the driver, so `skate.get` and
`.remote` work on every node that has skate installed.

Semantics are Ray's: items of static and dynamic generators can be used when the task has ended, the
return value of a generator is dropped. What Ray cannot do is refused or said once, by name
(`notes`).

Reading order: `connect`, `client`, `templates`, `actors`, `streams`, `refs`, `errors`, `notes`;
then `worker`, which is what Ray runs.
"""
