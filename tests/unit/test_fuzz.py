"""Whatever comes in from outside is read, or refused with a sentence: nothing else, and in a bounded time.

CI draws some hundred of each; `make attack` many thousands.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.chassis.settings import SettingsError, load
from libs.contracts import ContractError, decode
from libs.contracts.codec import MESSAGES
from libs.contracts.message import Message
from libs.schedule.cron import LONGEST_EXPRESSION, CronError, parse, zone
from libs.schedule.fields import KINDS
from libs.schedule.hashed import resolve_hash
from libs.schedule.occurrences import next_occurrence
from libs.schedule.words import describe
from services.host_runner import devices
from services.host_runner.core.script_parameters import described, parsed
from services.host_runner.scripts import ParametersError, ScriptNotFoundError, argv, find, split
from services.host_runner.settings import Settings
from tests.contract.samples import SAMPLES

SECONDS = 2.0
"""No single input may take longer, on a machine that has other work."""

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
TYPES = st.sampled_from(sorted(MESSAGES)) | st.text(max_size=30) | st.none()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=10), inside, max_size=4),
    max_leaves=12,
)


def quickly(do: Callable[[], Any]) -> Any:
    begun = time.perf_counter()
    try:
        return do()
    finally:
        assert time.perf_counter() - begun < SECONDS


def is_a_sentence(text: str) -> None:
    assert text
    assert len(text) < 2000
    assert text.isprintable(), ascii(text)


# --- messages


def is_read_or_refused(kind: str | None, body: bytes) -> Message | None:
    try:
        message: Message = quickly(lambda: decode(kind, body))
    except ContractError as refusal:
        is_a_sentence(str(refusal))
        return None
    again = decode(kind, message.model_dump_json().encode())
    assert again == message
    return message


@given(kind=TYPES, body=st.binary(max_size=400))
@example(kind="trigger.v1", body=b"\xff\xfe{}")
@example(kind="\ud800\n\x1b[2J", body=b"{}")
def test_any_bytes_are_a_message_or_a_refusal(kind: str | None, body: bytes) -> None:
    is_read_or_refused(kind, body)


@given(kind=st.sampled_from(sorted(MESSAGES)), content=JSON)
def test_any_json_is_a_message_or_a_refusal(kind: str, content: object) -> None:
    is_read_or_refused(kind, json.dumps(content).encode())


@given(data=st.data(), message=st.sampled_from(SAMPLES))
def test_a_message_with_other_values_is_a_message_or_a_refusal(data: st.DataObject, message: Message) -> None:
    content = json.loads(message.model_dump_json())
    for name in data.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=3)):
        content[name] = data.draw(JSON)
    is_read_or_refused(message.type, json.dumps(content).encode())


ODD_BODIES = {
    "deep lists": b"[" * 200_000,
    "deep lists, closed": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep in a field that nobody knows": b'{"more": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a huge number": b'{"execution_count": ' + b"9" * 100_000 + b"}",
    "a huge exponent": b'{"execution_count": 1e999999, "timeout_seconds": 1e400}',
    "no numbers": b'{"execution_count": NaN, "timeout_seconds": Infinity}',
    "a lone surrogate": b'{"deployment_name": "\\ud800", "host": "\\udc00"}',
    "a NUL": b'{"deployment_name": "\\u0000", "host": "\\u0000"}',
    "a key twice": b'{"host": "a", "host": "b", "type": 1, "type": 2}',
    "two values": b"{} {}",
    "UTF-16": "{}".encode("utf-16"),
    "a mark of the byte order": b"\xef\xbb\xbf{}",
    "nothing": b"",
    "too large": b" " * ((8 << 20) + 1),
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
def test_odd_bodies_are_refused_for_every_type(body: bytes) -> None:
    for kind in MESSAGES:
        assert is_read_or_refused(kind, body) is None


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: message.type)
def test_what_is_odd_within_a_good_message_is_refused_or_ignored(message: Message) -> None:
    good = message.model_dump_json().encode()
    for odd in (b"[" * 150 + b"]" * 150, b"9" * 5000, b'"\\ud800"', b"1e999", b"{}"):
        ignored = is_read_or_refused(message.type, good[:-1] + b', "nobody knows": ' + odd + b"}")
        assert ignored is None or ignored == message


# --- cron expressions

CRON_SIGNS = st.text("0123456789*/,-HRLW#?@ \t\nMONJAmon()~.", max_size=60)
CRON_FIELDS = st.lists(
    st.from_regex(r"(\*|[0-9]{1,2}(-[0-9]{1,2})?)(/[0-9]{1,2})?(,[0-9]{1,2}){0,3}", fullmatch=True),
    min_size=len(KINDS),
    max_size=len(KINDS),
).map(" ".join)


@given(text=st.text(max_size=300) | CRON_SIGNS | CRON_FIELDS)
@example(text="*" * 100_000)
@example(text=",".join("*" * 60) + " * * * *")
@example(text="9" * 190 + " * * * *")
@example(text="*/" + "9" * 180 + " * * * *")
@example(text="H(" * 90)
@example(text="\ud800 * * * *")
def test_any_text_is_an_expression_or_a_refusal(text: str) -> None:
    for read in (parse, lambda each: resolve_hash(each, "key"), describe):
        try:
            quickly(lambda read=read: read(text))  # type: ignore[misc]  # each at once
        except CronError as refusal:
            is_a_sentence(refusal.message)
            is_a_sentence(refusal.hint or "-")
    with suppress(CronError):
        expression = parse(text).expression
        assert len(expression) <= LONGEST_EXPRESSION
        assert parse(expression).expression == expression
        fire = quickly(lambda: next_occurrence(expression, "Europe/Paris", NOW))
        assert fire is not None
        assert NOW < fire < NOW + timedelta(days=366 * 50)


@given(name=st.text(max_size=60))
@example(name="../../etc/passwd")
@example(name="/etc/localtime")
@example(name="Europe/Paris\0")
@example(name="\ud800")
def test_any_text_is_a_zone_or_a_refusal(name: str) -> None:
    with suppress(CronError):
        zone(name)


# --- parameters and scripts

SHELL = st.text(max_size=80) | st.text("a-=' \"\\\n\t$`;|&<>(){}*?~#!0", max_size=60)


@given(text=SHELL)
@example(text="\0")
@example(text="--x ''")
@example(text="-- --x=")
@example(text="$(touch /tmp/x); `id` > y | z & *")
@example(text="\ud800")
def test_any_parameters_are_words_or_a_refusal(text: str) -> None:
    try:
        words = quickly(lambda: split(text))
    except ParametersError:
        return
    assert "\0" not in "".join(words)
    # No word is made of anything but the text, and none is lost but flags that were left open.
    whole = shlex.split(text)
    kept = iter(whole)
    assert all(word in kept for word in words)
    dropped = len(whole) - len(words)
    assert dropped <= sum(2 for word in whole if word.startswith("-"))
    called = argv(Path("/x/a.sh"), python="/p", userinterface_name="", parameters=text, host="lab-1", device="stb-1")
    assert called == ("/x/a.sh", *words, "--host", "lab-1", "--device", "stb-1")


@given(name=st.text(max_size=60) | st.text("./\\~ab\0\n", max_size=40))
@example(name="../secret.py")
@example(name="a/../../secret.py")
@example(name="/etc/passwd")
@example(name="x" * 5000)
def test_no_name_of_a_script_leads_out_of_its_folder(name: str) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place, "scripts")
        folder.mkdir()
        (folder / "a").write_text("")
        Path(place, "secret.py").write_text("")
        with suppress(ScriptNotFoundError):
            assert quickly(lambda: find(folder, name)) == (folder / "a").resolve()


@given(text=st.text(max_size=200) | st.text('[]{}="\n#p.aremts', max_size=80))
@example(text="parameters = " + "[" * 20_000)
@example(text="[[parameters]]\nname = 1")
def test_any_text_beside_a_script_or_in_it_is_read_or_refused(text: str) -> None:
    # What `list_scripts` takes for "cannot be told".
    for read in (lambda: described(text), lambda: parsed(text.encode(errors="surrogatepass"))):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            quickly(read)


# --- what an operator writes


@given(text=st.text(max_size=120) | JSON.map(json.dumps))
@example(text="[" * 100_000)
@example(text='[{"device_id": ' + "9" * 5000 + "}]")
def test_any_list_of_devices_is_read_or_refused(text: str) -> None:
    environment = {"RIGBEAT_HOST_NAME": "lab-1", "RIGBEAT_AMQP_URL": "amqp://x", "RIGBEAT_DEVICES": text}
    with suppress(SettingsError):
        quickly(lambda: load(Settings, environment))


@given(text=st.text(max_size=120) | st.text('[]{}="\n#devic_.ls', max_size=80))
@example(text="devices = " + "[" * 20_000)
@example(text="[[devices]]\ndevice_id = " + "9" * 5000)
def test_any_file_of_devices_is_read_or_refused(text: str) -> None:
    with TemporaryDirectory() as place:
        Path(place, "devices.toml").write_bytes(text.encode(errors="surrogatepass"))
        with suppress(SettingsError):
            quickly(lambda: devices.load((), Path(place)))
