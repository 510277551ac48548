"""A test whose need is absent is not run, is said aloud, and is a failure in CI."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.needs import container_engine_answers

pytest_plugins = ("pytester",)

_TESTS = """
import pytest

@pytest.mark.containers
def test_with_containers():
    pass

def test_without():
    pass
"""
_INI = "[pytest]\nmarkers =\n    containers: x\n"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Another run of pytest, with no container engine."""
    pytester.makeini(_INI)
    pytester.makepyfile(_TESTS)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{pytester.path}/nobody.sock")
    monkeypatch.delenv("CI", raising=False)
    return pytester


def test_at_the_desk_it_is_deselected_and_printed(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("-p", "tests.support.needs")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(
        ["NOT RUN: *test_with_containers (needs a container engine *DOCKER_HOST or */docker.sock)"]
    )
    assert result.ret == 0


def test_in_ci_it_is_a_failure(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest_subprocess("-p", "tests.support.needs")
    result.stdout.fnmatch_lines(["NOT RUN: *test_with_containers*"])
    assert result.ret == 1


def test_in_ci_nothing_missing_is_no_failure(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest_subprocess("-p", "tests.support.needs", "-k", "without")
    result.assert_outcomes(passed=1, deselected=1)
    assert result.ret == 0


def test_a_socket_that_nobody_answers_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in (f"unix://{tmp_path}/no.sock", "tcp://127.0.0.1:1", "npipe://x", "nothing"):
        monkeypatch.setenv("DOCKER_HOST", host)
        assert not container_engine_answers(), host
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setattr("tests.support.needs._ANSWER_SECONDS", 0.1)
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{deaf.getsockname()[1]}")
        assert not container_engine_answers()
