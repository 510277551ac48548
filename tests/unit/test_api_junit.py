"""Sums of JUnit reports, and what is no report; which artifact is the report, and of what type each is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.core.junit import MOST_BYTES, Sums, summed
from services.api.core.report import media_type, report_of

PYTEST = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.1">
<testcase classname="t" name="ok" time="0.001"><system-out>failure</system-out></testcase>
<testcase classname="t" name="bad"><failure message="assert 1 == 2">def f(): &lt;x&gt;</failure></testcase>
<testcase classname="t" name="broken"><error message="x"/></testcase>
<testcase classname="t" name="not now"><skipped type="pytest.skip" message="no"/></testcase>
</testsuite></testsuites>"""
NESTED = b"""<testsuite tests="3" failures="1"><testsuite tests="2" failures="1">
<testcase name="a"><failure/></testcase><testcase name="b"/></testsuite><testcase name="c"/></testsuite>"""
SAID = b"""<testsuites><testsuite tests="5" failures="2" errors="" skipped="x"/><testsuite tests="1"/></testsuites>"""


def test_reports_are_summed() -> None:
    assert summed(PYTEST) == Sums(4, 1, 1, 1)
    assert summed(NESTED) == Sums(3, 1, 0, 0)
    assert summed(SAID) == Sums(6, 2, 0, 0)
    assert summed(b'<j:testsuite xmlns:j="urn:j"><j:testcase/></j:testsuite>') == Sums(1)
    assert summed(b'<testsuite tests="2"><testsuite tests="2"/></testsuite>') == Sums(2)
    assert summed(b"<testsuites/>") == Sums()
    assert summed(PYTEST.decode().replace("utf-8", "utf-16").encode("utf-16")) == Sums(4, 1, 1, 1)
    assert summed(b"<testsuite><testcase><skipped/><failure/><error/></testcase></testsuite>") == Sums(1, errors=1)
    assert Sums(1, 2, 3, 4) + Sums(1, 1, 1, 1) == Sums(2, 3, 4, 5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html/>",
        b"<testsuite>",
        b"<testsuite></testsuites>",
        b"not xml",
        b"<testsuite/><testsuite/>",
        b'<?xml version="1.0" encoding="klingon"?><testsuite/>',
        b'<?xml version="1.0" encoding="shift_jis"?><testsuite/>',
        b"<!DOCTYPE testsuite><testsuite><testcase/></testsuite>",
        b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite>&x;</testsuite>',
        b'<testsuite><testcase name="' + b"a" * MOST_BYTES + b'"/></testsuite>',
    ],
    ids=lambda content: content[:40],
)
def test_nonsense_is_no_report(content: bytes) -> None:
    assert summed(content) is None


@given(st.one_of(st.binary(), st.text(alphabet="<>/=\"'&;! testcaseui", max_size=200).map(str.encode)))
def test_no_file_breaks_the_reader(content: bytes) -> None:
    summed(b"<testsuite>" + content)
    summed(content)


def test_the_report_is_the_one_that_is_called_so_or_the_only_page() -> None:
    assert report_of(["a.html", "report.html", "b.html"]) == "report.html"
    assert report_of(["junit.xml", "out/index.HTML"]) == "out/index.HTML"
    assert report_of(["a.html", "b.html"]) is None
    assert report_of(["sub/report.html", "b.html"]) is None
    assert report_of([]) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("a/junit.xml", "text/xml; charset=utf-8"),
        ("x.PNG", "image/png"),
        ("summary.json", "application/json"),
        ("run.log", "text/plain; charset=utf-8"),
        ("dump.tar.gz", "application/octet-stream"),
        ("core", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
    ],
)
def test_media_types(name: str, kind: str) -> None:
    assert media_type(name) == kind
