"""The success marker is found however the output is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.host_runner.shim.output import Markers

RESULT = "5f0c8a52-7d2d-4a3c-9d5e-0123456789ab"


def found(*pieces: bytes) -> tuple[str, str]:
    markers = Markers()
    for piece in pieces:
        markers.feed(piece)
    markers.end()
    return markers.success, markers.result_id


@pytest.mark.parametrize(
    ("output", "success"),
    [
        (b"", ""),
        (b"SCRIPT_SUCCESS:true", "true"),
        (b"SCRIPT_SUCCESS:true\n", "true"),
        (b"SCRIPT_SUCCESS:True\r\n", "true"),
        (b"  SCRIPT_SUCCESS: false \nbye\n", "false"),
        (b"50 %\rSCRIPT_SUCCESS:true\n", "true"),
        (b"SCRIPT_SUCCESS:true\nSCRIPT_SUCCESS:false\n", "false"),
        (b"SCRIPT_SUCCESS:false\nSCRIPT_SUCCESS:true\nand more\n", "true"),
        (b"SCRIPT_SUCCESS:true\nSCRIPT_SUCCESS:perhaps\n", "true"),
        (b"he said SCRIPT_SUCCESS:true\n", ""),
        (b"SCRIPT_SUCCESS:true it is\n", ""),
        (b"script_success:true\n", ""),
        (b"SCRIPT_SUCCESS:\xff\n", ""),
        (b"x" * 200 + b"SCRIPT_SUCCESS:true\nSCRIPT_SUCCESS:false\n", "false"),
        (b"x" * 200 + b"SCRIPT_SUCCESS:true\n", ""),
        (b"SCRIPT_SUCCESS:true" + b" " * 200 + b"x", ""),
    ],
)
def test_the_last_line_that_is_a_marker_counts_at_every_cut(output: bytes, success: str) -> None:
    assert found(output)[0] == success
    assert found(*(bytes([byte]) for byte in output))[0] == success
    for cut in range(len(output)):
        assert found(output[:cut], output[cut:])[0] == success, cut


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (f"SCRIPT_RESULT_ID:{RESULT}", RESULT),
        (f"SCRIPT_RESULT_ID:{RESULT.upper()}", RESULT),
        (f"SCRIPT_RESULT_ID:{RESULT}\nSCRIPT_RESULT_ID:", RESULT),
        ("SCRIPT_RESULT_ID:../../etc/passwd", ""),
        (f"SCRIPT_RESULT_ID:{RESULT}0", ""),
        (f"SCRIPT_RESULT_ID:{RESULT[:-1]}g", ""),
    ],
)
def test_a_result_id_is_a_uuid(line: str, result: str) -> None:
    assert found(line.encode())[1] == result


LINES = st.sampled_from([b"SCRIPT_SUCCESS:true", b"SCRIPT_SUCCESS:false", b"", b"noise", b"y" * 130, b"SCRIPT_"])


@given(st.lists(LINES), st.lists(st.integers(min_value=1, max_value=300)))
def test_pieces_are_as_good_as_the_whole(lines: list[bytes], sizes: list[int]) -> None:
    output = b"\n".join(lines)
    pieces, rest = [], output
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    marked = [line for line in lines if line.startswith(b"SCRIPT_SUCCESS:")]
    expected = marked[-1].split(b":")[1].decode() if marked else ""
    assert found(*pieces, rest)[0] == found(output)[0] == expected
