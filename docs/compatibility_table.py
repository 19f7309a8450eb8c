"""Writes the tables of docs/compatibility.md: the conformance suite's results, and every name.

python docs/compatibility_table.py                       writes the page
python docs/compatibility_table.py --check               fails if it is not as it would be written
python docs/compatibility_table.py skate.xml ray.xml     takes new results of the suite first

The results are pytest's own: `python -m pytest tests/conformance --junitxml=skate.xml`, and the
same with `SKATE_TEST_ENGINE=ray`. They are kept in docs/conformance.json; the names are those that
the finder of `import ray` and `skate check` use. No row is typed by hand.
"""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET  # pytest's own files

from skate._ray_names import TABLE
from skate._session import _EMPTY_ONLY, _WITHOUT_EFFECT

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "compatibility.md", HERE / "conformance.json"
ENGINES = ("skate", "ray")
SUITE = "<!-- suite: begin -->\n", "<!-- suite: end -->\n"
_ASLEEP = "Ray's interrupt does not wake a task that sleeps in a system call"
REASONS = {
    "test_running_task_is_interrupted": _ASLEEP,
    "test_running_task_sees_keyboard_interrupt": _ASLEEP,
    "test_dependents_of_a_cancelled_task_fail_too": _ASLEEP,
    "test_children_are_cancelled_with_their_parent": _ASLEEP,
    "test_cancelled_stream_ends_with_the_error": _ASLEEP,
    "test_worker_serves_others_after_a_cancel": _ASLEEP,
    "test_queued_call_is_cancelled_before_it_runs": "Ray waits for the turn it had",
    "test_dynamic[async]": "Ray has only streams of async generators",
    "test_static[async]": "Ray has only streams of async generators",
    "test_too_few_yields[async]": "Ray has only streams of async generators",
    "test_name_is_free_after_a_kill": "in Ray a call just after the kill may still be answered",
    "test_negative_timeout_of_get": "Ray accepts it",
    "test_no_refs_gives_none": "Ray does not run a generator without returns",
    "test_delegation_to_an_iterator_streams_too": "Ray resumes it by `send`",
    "test_num_returns_of_a_wrong_kind_is_a_value_error": "Ray raises TypeError for these",
    "test_available_resources_shrink_while_a_task_runs": "Ray tells it a moment later",
    "test_a_module_of_py_modules_can_be_imported": "Ray takes directories in `init` only",
    "test_files_of_the_working_directory_are_found": "Ray takes directories in `init` only",
    "test_shared_and_recursive_structures_keep_their_shape": "Ray's msgpack forgets it",
    "test_values_of_the_standard_library[bytearray(b'ab')]": "in Ray a bytearray arrives as bytes",
    "test_classes_that_skate_packs_itself_are_refused": "Ray takes and ignores it",
    "test_wrong_arguments_name_themselves": "skate only: wording of its own",
    "test_an_id_is_its_bytes[UniqueID]": "Ray's UniqueID does not implement it",
    "test_generator_may_yield_refs_of_its_children": (
        "in Ray the child's value may be freed before its ref arrives"
    ),
    "test_the_innermost_culprit_is_named": "Ray's row has no `name`",
}
"""Why the outcomes of a test differ; by its name, with or without parameters."""
NAMES = "<!-- names: begin -->\n", "<!-- names: end -->\n"


def outcome(case: ET.Element) -> str:
    """What pytest says of one test."""
    for child in case:
        if child.tag in {"failure", "error"}:
            return "failed"
        if child.tag == "skipped":
            return "skipped"
    return "passed"


def take(paths: list[str]) -> None:
    """Keeps the results of the suite: for each file, each test, one outcome for each engine."""
    results: dict[str, dict[str, dict[str, str]]] = {}
    for engine, path in zip(ENGINES, paths, strict=True):
        for case in ET.parse(path).iter("testcase"):  # noqa: S314 - our own file
            file = case.get("classname", "").rpartition(".")[2]
            tests = results.setdefault(file, {})
            tests.setdefault(case.get("name", ""), {})[engine] = outcome(case)
    for tests in results.values():
        for how in tests.values():
            for engine in ENGINES:
                how.setdefault(engine, "no end")  # its process had to be stopped
    RESULTS.write_text(json.dumps(results, indent=0, sort_keys=True) + "\n")


def reason(name: str) -> str:
    """Why the outcomes of a test differ; without one there is no page."""
    for each in (name, name.partition("[")[0]):
        if each in REASONS:
            return REASONS[each]
    sys.exit(f"docs/compatibility_table.py: REASONS lacks {name}")


def suite() -> str:
    """A row for each file, then each test whose outcomes differ."""
    if not RESULTS.exists():
        return ""
    results = json.loads(RESULTS.read_text())
    lines = ["| claims about | tests | skate | Ray |", "|---|---|---|---|"]
    apart = []
    totals = dict.fromkeys(ENGINES, 0)
    for file, tests in sorted(results.items()):
        kept = {
            engine: sum(each.get(engine) == "passed" for each in tests.values())
            for engine in ENGINES
        }
        subject = file.removeprefix("test_").replace("_", " ")
        lines.append(f"| {subject} | {len(tests)} | {kept['skate']} | {kept['ray']} |")
        for engine in ENGINES:
            totals[engine] += kept[engine]
        apart += [
            f"| `{file}.py` | {name.removeprefix('test_').replace('_', ' ')} | {how['skate']} "
            f"| {how['ray']} | {reason(name)} |"
            for name, how in sorted(tests.items())
            if how["skate"] != how["ray"]
        ]
    count = sum(map(len, results.values()))
    lines.append(f"| **all** | {count} | {totals['skate']} | {totals['ray']} |")
    lines += [
        "",
        "Where the two differ:",
        "",
        "| file | claim | skate | Ray | why |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *apart]) + "\n"


def names() -> str:
    """Every public name of Ray's core, sorted, and the parameters of `init`."""
    rows = {f"`{name}`": treatment for name, treatment in TABLE.items()}
    lines = ["| name | skate | |", "|---|---|---|"]
    lines += [f"| {name} | {how} | {note} |" for name, (how, note) in sorted(rows.items())]
    ignored = ", ".join(f"`{name}`" for name in sorted(_WITHOUT_EFFECT))
    empty = ", ".join(f"`{name}`" for name in sorted(_EMPTY_ONLY))
    lines += ["", f"Parameters of `ray.init` that are ignored: {ignored}."]
    lines += ["", f"Parameters of `ray.init` that may only be empty: {empty}."]
    return "\n".join(lines) + "\n"


def between(page: str, marks: tuple[str, str], text: str) -> str:
    """The page with another text between two marks."""
    head, _, rest = page.partition(marks[0])
    _, _, tail = rest.partition(marks[1])
    return f"{head}{marks[0]}{text}{marks[1]}{tail}"


def main() -> None:
    """Puts both tables between their marks."""
    is_check = "--check" in sys.argv
    if paths := [each for each in sys.argv[1:] if each != "--check"]:
        take(paths)
    page = PAGE.read_text()
    written = between(between(page, SUITE, suite()), NAMES, names())
    if is_check:
        sys.exit("docs/compatibility.md is not up to date" if written != page else 0)
    PAGE.write_text(written)


if __name__ == "__main__":
    main()
