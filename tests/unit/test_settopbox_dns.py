"""The box's DNS server, with dnspython as the one who knows how an answer looks."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from examples.settopbox.dns import answer


def asked(name: str, kind: str = "A", *, fails: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    raw = answer(query.to_wire(), fails=fails)
    assert raw is not None
    response = dns.message.from_wire(raw)
    assert query.is_response(response)
    return response


def test_a_name_of_the_lab_has_an_address() -> None:
    response = asked("tv.LAB")
    assert response.rcode() == dns.rcode.NOERROR
    assert [str(record) for rrset in response.answer for record in rrset] == ["127.0.0.1"]
    assert response.flags & dns.flags.AA


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("tv.lab", "AAAA", dns.rcode.NOERROR),
        ("example.org", "A", dns.rcode.NXDOMAIN),
        (".", "A", dns.rcode.NXDOMAIN),
    ],
)
def test_what_it_does_not_have_it_says(name: str, kind: str, code: int) -> None:
    response = asked(name, kind)
    assert (response.rcode(), response.answer) == (code, [])


def test_with_the_fault_on_it_fails() -> None:
    assert asked("tv.lab", fails=True).rcode() == dns.rcode.SERVFAIL


def test_a_datagram_that_is_no_question_does_no_harm() -> None:
    query = dns.message.make_query("tv.lab", "A").to_wire()
    assert answer(b"") is None
    assert answer(query[:11]) is None
    response = answer(query)
    assert response is not None
    assert answer(response) is None, "an answer to an answer could go on for ever"
    for end in range(12, len(query)):
        broken = answer(query[:end])
        assert broken is not None
        assert dns.message.from_wire(broken).rcode() == dns.rcode.FORMERR
