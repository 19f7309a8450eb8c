"""How `init(address=...)` finds its cluster, and what it says when it cannot.

    address=            ─▶ that
    SKATE_ADDRESS       ─▶ that, if `init` was given none
    RAY_ADDRESS         ─▶ that, if Ray is installed (the extra `skate[ray]`); it is printed
    otherwise, "local"  ─▶ this machine: the node in this process

Invariant: without one of these nothing of Ray is imported. Every failure is one error that says
what to do, and leaves Ray as it was.
"""

from __future__ import annotations

import contextlib
import sys

from skate import _settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from skate._cluster.client import Client

_KNOCK_S = 5.0
_EXTRA = "pip install 'skate[ray]'"


def address_of(given: str | None) -> str | None:
    """The address of a cluster; None for this machine."""
    named, source = _settings.find("address", given)
    if named in {None, "local"}:
        return None
    if source == "RAY_ADDRESS":
        if not _is_installed():
            return None
        print(f"skate: RAY_ADDRESS={named}: connecting to that cluster", file=sys.stderr)  # noqa: T201
    return str(named)


def _is_installed() -> bool:
    from importlib.util import find_spec

    spec = find_spec("ray")
    return spec is not None and spec.origin is not None  # else a directory, or skate itself


def connect(
    address: str, namespace: str | None, local: dict[str, Any], **options: Any
) -> tuple[Client, str]:
    """Connects to a cluster.

    Args:
        address: `"auto"` or `ip:port`.
        namespace: For names of actors.
        local: Arguments of `init` that are about this machine; all must be None.
        options: For Ray's own `init`.

    Returns:
        The client and the namespace.

    Raises:
        ImportError: Ray is not installed, or `import ray` means skate here.
        ConnectionError: no cluster answers there.
        RaySystemError: it answers, and refuses.
        ValueError: an argument is about this machine, or the address is of Ray's client.
    """
    if address.startswith("ray://"):
        msg = (
            f"init(address={address!r}): Ray's client (ray://) has no streaming generators and "
            "cannot pass refs on inside of values, so programs would not mean the same there. "
            "Run the program on a machine of the cluster, with address='auto' or the ip:port of "
            "`ray start --head`, or submit it by `ray job submit`"
        )
        raise ValueError(msg)
    for name, value in local.items():
        if value is not None:
            msg = (
                f"init: {name}={value!r} is about this machine, but address={address!r} names a "
                "cluster, which was started with its own: leave one of them out"
            )
            raise ValueError(msg)
    ray = _load(address)
    from skate._cluster.client import Client, session_name, share_classes

    with _left_again(ray):
        _join(ray, address, namespace=namespace, **options)
        share_classes()
        context = ray.get_runtime_context()
        return Client(session_name(), address, is_driver=True), context.namespace


@contextlib.contextmanager
def _left_again(ray: Any) -> Iterator[None]:
    """Disconnects if this fails, by Ctrl-C, too; from what the program joined itself, never."""
    was_joined = ray.is_initialized()
    try:
        yield
    except BaseException:
        if not was_joined:
            ray.shutdown()
        raise


def _join(ray: Any, address: str, **options: Any) -> None:
    from skate.exceptions import AuthenticationError, RaySystemError

    try:
        _knock(address)
        ray.init(address=address, **options)
    except (OSError, ray.exceptions.AuthenticationError) as error:
        if _is_refusal(error):
            msg = (
                f"init(address={address!r}): the cluster refuses the credentials. Set "
                "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to its token"
            )
            raise AuthenticationError(msg) from error
        msg = (
            f"init(address={address!r}): no Ray cluster answers there ({error}). Start one with "
            "`ray start --head`, or leave the address out to use this machine"
        )
        raise ConnectionError(msg) from error
    except RuntimeError as error:
        text = str(error)
        if "ersion mismatch" in text:
            text += f" Install the cluster's version here: {_EXTRA} 'ray==<its version>'"
        msg = f"init(address={address!r}): {text}"
        raise RaySystemError(msg) from error


def _knock(address: str) -> None:
    """Raises OSError if nobody listens there: Ray itself takes two minutes to say so."""
    import socket

    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S):
            pass


def _is_refusal(error: BaseException | None) -> bool:
    """Whether it, or what caused it, is about the token. Ray keeps some causes as text only."""
    while error is not None:
        if "AuthenticationError" in f"{type(error).__name__} {error}":
            return True
        error = error.__cause__ or error.__context__
    return False


def _load(address: str) -> Any:
    """Ray itself."""
    from skate._as_ray import finder

    if finder() is not None:
        msg = (
            f"init(address={address!r}) needs Ray itself, but `import ray` means skate in this "
            "program (skate run, install_as_ray or SKATE_AS_RAY): run it with `python`, on Ray"
        )
        raise ImportError(msg)
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        msg = f"init(address={address!r}) connects to a Ray cluster, which needs Ray: {_EXTRA}"
        raise ImportError(msg) from error
    if not hasattr(ray, "init"):  # a directory of that name
        msg = f"init(address={address!r}) connects to a Ray cluster, which needs Ray: {_EXTRA}"
        raise ImportError(msg)
    return ray
