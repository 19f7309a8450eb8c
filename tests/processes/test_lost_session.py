"""A thread of skate without which answers cannot come has ended: nobody waits for them for ever.

When the thread that starts workers and learns of their ends was gone, by a panic or because its
`epoll` failed, every call of the session hung.
"""

LOSE = """
import asyncio, concurrent.futures

skate.init(num_cpus=2)
double = skate.remote(lambda x: 2 * x)

@skate.remote
def never():
    time.sleep(1000)

@skate.remote
def no_items():
    yield time.sleep(1000)

assert skate.get(double.remote(1)) == 2

def is_epoll(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"
    except FileNotFoundError:  # closed meanwhile
        return False

(epoll,) = [int(fd) for fd in os.listdir("/proc/self/fd") if is_epoll(fd)]
items, ref = no_items.remote(), never.remote()

async def awaits():
    return await ref

waits = {
    "get": lambda: skate.get(ref),
    "get with a time-out": lambda: skate.get(ref, timeout=1000),
    "wait": lambda: skate.wait([ref]),
    "next": lambda: next(items),
    "await": lambda: asyncio.run(awaits()),
    "future": lambda: ref.future().result(),
}
pool = concurrent.futures.ThreadPoolExecutor(len(waits))
waiting = {name: pool.submit(call) for name, call in waits.items()}
while not all(future.running() for future in waiting.values()):
    time.sleep(0)

def lose():
    # As a program does that closes what it did not open, and opens something else.
    os.dup2(os.open("/dev/null", os.O_RDONLY), epoll)
    told(lambda: skate.put(0))  # dropped: the thread looks, unless it has by now

def told(call):
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__} {error}"
"""

WHY = "the session is lost: its thread skate-watch has ended: epoll_wait failed: Invalid"


def test_waiting_and_later_calls_raise_and_say_why(run):
    out, _ = run(
        LOSE
        + """
lose()
for future in waiting.values():
    print(told(lambda: future.result(10)))
for later in (lambda: double.remote(1), lambda: skate.get(ref), lambda: skate.put(1)):
    print(told(later))
"""
    )
    lines = out.splitlines()
    assert len(lines) == 9
    for line in lines:
        assert line.startswith("RaySystemError")
        assert WHY in line


def test_another_session_can_be_started(run):
    out, _ = run(
        LOSE
        + """
lose()
print(told(lambda: waiting["get"].result(10)))
skate.shutdown()
skate.init(num_cpus=2)
print(skate.get(double.remote(2)))
"""
    )
    first, last = out.splitlines()
    assert WHY in first
    assert last == "4"
