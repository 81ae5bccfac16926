"""`backpack-streams doctor`: checks every part concurrently, within a deadline; prints a table, exit code 1 if a check fails."""

import asyncio
import json
import logging
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator

from backpack_streams.commands.doctor.findings import Finding, Part, State, Verdict, fail, row_text, skipped
from backpack_streams.commands.doctor.kafka import KafkaExamination
from backpack_streams.commands.doctor.registry import examine_registry
from backpack_streams.commands.doctor.settings import DoctorSettings
from backpack_streams.errors import UsageError

logger = logging.getLogger(__name__)

_WIDTH_ELSEWHERE = 160
_LEAST_WIDTH = 40
_NOISY = ("aiokafka", "picows", "asyncio", "httpx")

Tell = Callable[[Finding], None]
Look = Callable[[DoctorSettings, Tell], Coroutine[None, None, None]]


async def run(settings: DoctorSettings) -> int:
    """Print the findings, as a table or as one line of JSON each.

    Returns:
        The exit code: 1 if a check failed, 0 otherwise. Warnings and skipped checks do not count.

    Raises:
        UsageError: a TLS file is unusable.
    """
    if settings.log_level == "error":
        for name in _NOISY:  # the table reports it in words
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    findings = await examine(settings)
    lines = _json_lines(findings) if settings.json_output else table(findings, _width())
    print("\n".join(lines), flush=True)  # what the command says to its user
    return 1 if any(finding.state is State.FAIL for finding in findings) else 0


async def examine(settings: DoctorSettings) -> list[Finding]:
    """Check every part that is not skipped, all at once. A part that crashes or takes longer than `timeout` seconds fails.

    Returns:
        The findings in the order of the parts, without repetitions.

    Raises:
        UsageError: a TLS file is unusable.
    """
    found: dict[Part, list[Finding]] = {part: [] for part in Part}
    parts = [part for part in Part if part.value not in settings.skip]
    await asyncio.gather(*(_within(settings, part, found[part]) for part in parts))
    for part in Part:
        if part not in parts:
            found[part] = [skipped("left out by --skip").of(part, part.value)]
    return [finding for part in Part for finding in dict.fromkeys(found[part])]


async def _within(settings: DoctorSettings, part: Part, findings: list[Finding]) -> None:
    try:
        async with asyncio.timeout(settings.timeout):
            await _LOOKS[part](settings, findings.append)
    except TimeoutError:
        verdict = fail(f"not done within {settings.timeout:g} s", "check the findings above, or raise --timeout")
        findings.append(verdict.of(part, "in time"))
    except UsageError:
        raise
    except Exception as error:  # a crash in one part must not hide the findings of the others
        logger.debug("a check crashed", exc_info=error)
        findings.append(_unexpected(error).of(part, "check itself"))


def _unexpected(error: Exception) -> Verdict:
    what = f"an unexpected answer: {type(error).__name__}: {row_text(error)}"
    return fail(what, "another program may be answering; see --log-level debug")


async def _look_at_kafka(settings: DoctorSettings, tell: Tell) -> None:
    await KafkaExamination(settings, tell).run()


async def _look_at_exchange(settings: DoctorSettings, tell: Tell) -> None:
    try:
        from backpack_streams.commands.doctor.exchange import examine_exchange
    except ModuleNotFoundError as error:  # a program that only reads topics does not need it
        tell(_not_installed(error).of(Part.EXCHANGE, "exchange"))
        return
    await examine_exchange(settings, tell)


async def _look_at_key(settings: DoctorSettings, tell: Tell) -> None:
    if settings.private_key_file is None:
        tell(skipped("no key is set; use --private-key-file").of(Part.KEY, "private key"))
        return
    try:
        from backpack_streams.commands.doctor.key import CHECK, examine_key
    except ModuleNotFoundError as error:
        tell(_not_installed(error).of(Part.KEY, "private key"))
        return
    tell(examine_key(settings.private_key_file).of(Part.KEY, CHECK))


def _not_installed(error: ModuleNotFoundError) -> Verdict:
    return skipped(
        f"needs the extra 'services' ({error.name} is not installed): pip install 'backpack-streams[services]'"
    )


_LOOKS: dict[Part, Look] = {
    Part.KAFKA: _look_at_kafka,
    Part.REGISTRY: examine_registry,
    Part.EXCHANGE: _look_at_exchange,
    Part.KEY: _look_at_key,
}


def table(findings: Iterable[Finding], width: int) -> Iterator[str]:
    """Yield the lines of the report for people: the findings, and their number by state.

    Args:
        findings: the findings, in order.
        width: the maximum length of a line in characters.
    """
    rows = list(findings)
    before = {row: f"{row.state.value:8} {row.part.value:9} {row.check}" for row in rows}
    indent = max((len(text) for text in before.values()), default=0) + 2
    for row in rows:
        room = max(_LEAST_WIDTH, width - indent)
        yield from _column(before[row].ljust(indent), row.found, room)
        if row.todo:
            yield from _column(" " * indent, f"→ {row.todo}", room)
    counts = Counter(row.state for row in rows)
    yield ", ".join(f"{counts[state]} {state.value}" for state in State)


def _column(first: str, text: str, room: int) -> Iterator[str]:
    for line in textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]:
        yield f"{first}{line}".rstrip()
        first = " " * len(first)


def _json_lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        yield json.dumps(
            {
                "part": finding.part.value,
                "check": finding.check,
                "state": finding.state.value,
                "found": finding.found,
                "todo": finding.todo,
            },
            ensure_ascii=False,
        )


def _width() -> int:
    return shutil.get_terminal_size((_WIDTH_ELSEWHERE, 24)).columns if sys.stdout.isatty() else _WIDTH_ELSEWHERE
