"""What was released once decodes for ever: golden files of every message type, of each release.

A new type or field: `python -m tests.contract.write_golden RELEASE` adds a folder; older ones never change.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libs.contracts import MESSAGES, ContractError, Message, address, decode, encode
from tests.contract.samples import AT, SAMPLES

GOLDEN = Path(__file__).parent / "golden"
RELEASES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
FILES = sorted(GOLDEN.glob("*/*.json"))


def test_every_message_type_has_a_sample_and_a_golden_file() -> None:
    assert {sample.type for sample in SAMPLES} == set(MESSAGES)
    assert {path.stem for path in GOLDEN.glob(f"{RELEASES[-1]}/*.json")} == set(MESSAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_released_message_decodes_to_what_it_said(path: Path) -> None:
    text = path.read_text()
    message = decode(path.stem, text.encode())
    said, now_says = json.loads(text), json.loads(message.model_dump_json())
    assert {name: now_says.get(name, "dropped") for name in said} == said


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.type)
def test_encode_and_decode_are_inverse(sample: Message) -> None:
    envelope = encode(sample, message_id="m-1", at=AT, app_id="test", traceparent="00-a-b-01")
    assert decode(envelope.type, envelope.body) == sample
    assert (envelope.exchange, envelope.routing_key) == address(sample)
    assert envelope.content_type == "application/json"
    assert envelope.headers == {"traceparent": "00-a-b-01"}
    execution = getattr(sample, "execution_id", None)
    assert envelope.correlation_id == (str(execution) if execution else None)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.type)
def test_a_reader_ignores_fields_of_a_newer_writer(sample: Message) -> None:
    newer = json.loads(sample.model_dump_json()) | {"from_the_future": {"a": 1}}
    assert decode(sample.type, json.dumps(newer).encode()) == sample


@pytest.mark.parametrize(
    ("type_name", "body", "sentence"),
    [
        (None, b"{}", "unknown message type ''"),
        ("trigger.v99", b"{}", "unknown message type 'trigger.v99'"),
        ("trigger.v1", b"\xff\xfe", "trigger.v1: body:"),
        ("trigger.v1", b"not json", "trigger.v1: body:"),
        ("trigger.v1", b"[]", "trigger.v1: body:"),
        ("trigger.v1", b"{}", "trigger.v1: execution_id: Field required (and"),
        ("command.clock.v1", b'{"command_id": 1}', "command.clock.v1: command_id:"),
        ("trigger.v1", b" " * (1 << 20) + b"{}", "over the limit"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(type_name: str | None, body: bytes, sentence: str) -> None:
    with pytest.raises(ContractError) as refused:
        decode(type_name, body)
    assert sentence in str(refused.value)


def test_a_time_without_a_zone_is_refused() -> None:
    trigger = json.loads(SAMPLES[0].model_dump_json()) | {"not_after": "2026-11-23T10:30:00"}
    with pytest.raises(ContractError, match="not_after"):
        decode("trigger.v1", json.dumps(trigger).encode())


@pytest.mark.parametrize("name", ["", "Lab-1", "lab.1", "-lab", "lab-", "lab 1", "lab\n", "a" * 64, "läb"])
def test_a_host_name_that_does_not_fit_a_queue_name_is_refused(name: str) -> None:
    trigger = json.loads(SAMPLES[0].model_dump_json()) | {"host": name}
    with pytest.raises(ContractError, match="host"):
        decode("trigger.v1", json.dumps(trigger).encode())
