"""The examples as a newcomer runs them: a real box, each script a real process talking to it over HTTP."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import httpx

from examples.settopbox.faults import Fault
from tests.support.settopbox import ROOT, RunningBox, running_box
from tests.support.wait import until_async

SCRIPTS = ROOT / "examples" / "scripts"
LIMIT_SECONDS = 15.0


@dataclass(frozen=True)
class Ran:
    exit_code: int | None
    output: str

    @property
    def marker(self) -> str:
        return self.output.splitlines()[-1]


NEEDS_PACKAGES = {"suite.py"}


async def start(script: str, url: str, *options: str, artifacts: Path | None = None) -> asyncio.subprocess.Process:
    """Start a script as a host does. `-I -S`: with nothing but the standard library in reach."""
    alone = () if script in NEEDS_PACKAGES else ("-I", "-S")
    environment = {"RIGBEAT_DEVICE_LABELS": json.dumps({"address": url})}
    if artifacts is not None:
        environment["RIGBEAT_ARTIFACTS_DIR"] = str(artifacts)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *alone, str(SCRIPTS / script), "demo", *options, "--host", "lab-1", "--device", "stb-1"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def ended(process: asyncio.subprocess.Process) -> Ran:
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(process.returncode, output.decode())


async def run(script: str, url: str, *options: str, artifacts: Path | None = None) -> Ran:
    return await ended(await start(script, url, *options, artifacts=artifacts))


async def power_is(box: RunningBox, power: str) -> bool:
    return (await box.state())["power"] == power


async def test_all_four_succeed_on_a_box_that_is_well_and_zap_really_changes_the_channel(tmp_path: Path) -> None:
    async with running_box() as box:
        health = await run("health.py", box.url, "--limit", "5", artifacts=tmp_path)
        assert (health.exit_code, health.marker) == (0, "SCRIPT_SUCCESS:true"), health.output
        assert health.output.count("probe ") == 5
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert (summary["success"], summary["probes"], summary["power"]) == (True, 5, "on")
        assert "passed" in (tmp_path / "report.html").read_text()

        zap = await run("zap.py", box.url, "--channels", "3", "--step", "7")
        assert (zap.exit_code, zap.marker) == (0, "SCRIPT_SUCCESS:true"), zap.output
        assert (await box.state())["channel"] == 1 + 3 * 7

        soak = await run("soak.py", box.url, "--seconds", "2", "--interval", "0.5")
        assert (soak.exit_code, soak.marker) == (0, "SCRIPT_SUCCESS:true"), soak.output
        assert soak.output.count("power on") >= 3

        dns = await run("dns.py", box.url, "--lookups", "5")
        assert (dns.exit_code, dns.marker) == (0, "SCRIPT_SUCCESS:true"), dns.output
        assert dns.output.count("ms ok") == 5
        assert "lookup_ms_p95" in dns.output


async def test_switched_on_latency_fails_each_and_switched_off_they_succeed_again(tmp_path: Path) -> None:
    async with running_box() as box:
        await box.tell("/faults", fault="slow", latency_ms=1000)
        health = await run("health.py", box.url, "--limit", "2", "--limit-ms", "500", artifacts=tmp_path)
        assert (health.exit_code, health.marker) == (1, "SCRIPT_SUCCESS:false")
        assert "FAILED: latency p95" in health.output
        assert json.loads((tmp_path / "summary.json").read_text())["success"] is False
        zap = await run("zap.py", box.url, "--channels", "1", "--max-zap-ms", "150")
        assert (zap.exit_code, zap.marker) == (1, "SCRIPT_SUCCESS:false")
        assert "FAILED: zap to channel" in zap.output
        soak = await run("soak.py", box.url, "--seconds", "2.5", "--interval", "0.1", "--limit-ms", "500")
        assert (soak.exit_code, soak.marker) == (1, "SCRIPT_SUCCESS:false")
        assert "answers took longer" in soak.output

        await box.client.delete("/faults")
        health = await run("health.py", box.url, "--limit", "2", "--limit-ms", "500")
        assert health.exit_code == 0, health.output


FAULTS = [
    ("slow", "health.py", "--limit 1 --limit-ms 100", "latency p95"),
    ("tuner", "health.py", "--limit 1", "the tuner has no lock: no signal"),
    ("tuner", "zap.py", "--channels 1", "the tuner of stb-1 has no lock: no signal on channel 8"),
    ("wrong-channel", "zap.py", "--channels 1", "asked for channel 8, the box is on 9"),
    ("frozen", "soak.py", "--seconds 0.5 --interval 0.2", "the picture stood still at "),
    ("reboot", "health.py", "--limit 1", "power is booting, not on"),
    ("away", "health.py", "--limit 1", "does not answer"),
    ("dns-slow", "dns.py", "--lookups 1 --limit-ms 100", "lookup time p95"),
    ("dns-slow", "dns.py", "--lookups 1 --timeout-ms 100", "1 of 1 lookups of tv.lab: no answer within 100 ms"),
    ("dns-fails", "dns.py", "--lookups 2", "2 of 2 lookups of tv.lab: SERVFAIL"),
]


async def test_every_fault_is_a_failure_with_its_reason_and_is_over_when_it_is_mended() -> None:
    assert {fault for fault, *_ in FAULTS} == set(Fault)
    async with running_box("--boot-seconds", "0.3") as box:
        for fault, script, options, sentence in FAULTS:
            await box.tell("/faults", fault=fault)
            ran = await run(script, box.url, *options.split())
            assert (ran.exit_code, ran.marker) == (1, "SCRIPT_SUCCESS:false"), (fault, ran.output)
            failed = [line for line in ran.output.splitlines() if line.startswith("FAILED: ")]
            assert any(sentence in line for line in failed), (fault, ran.output)
            await box.client.delete(f"/faults/{fault}")
            if fault == "reboot":
                await until_async(lambda: power_is(box, "on"), within=5)
        well = await asyncio.gather(run("health.py", box.url), run("dns.py", box.url))
        assert [ran.exit_code for ran in well] == [0, 0], well


async def test_a_fault_is_switched_on_shown_and_mended_by_hand() -> None:
    async with running_box("--flaky", "away:86400:1") as box:
        port = box.url.rpartition(":")[2]

        async def fault(*words: str) -> Ran:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "examples.settopbox", "fault", "--port", port, *words),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            return await ended(process)

        assert "the tuner finds no signal" in (await fault("tuner", "--seconds", "60")).output
        assert "tuner_locked': False" in str(await box.state())
        assert "(for " in (await fault()).output
        refused = await fault("tuner", "--latency-ms", "5")
        assert (refused.exit_code, refused.output.splitlines()) == (
            1,
            ["the box refuses: latency_ms belongs to the fault slow; not to tuner"],
        )
        assert (await fault("--mend")).output.splitlines() == ["the box has no fault", "by the clock: away:86400:1"]
    gone = await fault()
    assert gone.exit_code == 1
    assert "no box answers" in gone.output


async def test_the_suite_leaves_junit_and_a_page_and_fails_with_the_words_of_its_tests(tmp_path: Path) -> None:
    async with running_box() as box:
        well = await run("suite.py", box.url, artifacts=tmp_path / "well")
        assert (well.exit_code, well.marker) == (0, "SCRIPT_SUCCESS:true"), well.output
        assert "7 passed" in well.output
        await box.tell("/faults", fault="tuner")
        broken = await run("suite.py", box.url, "--only", "tuner or volume", artifacts=tmp_path / "broken")
        nothing = await run("suite.py", box.url, "--only", "no_such_test")
    assert (broken.exit_code, broken.marker) == (1, "SCRIPT_SUCCESS:false")
    assert "FAILED: test_the_tuner_has_a_lock: AssertionError: no signal" in broken.output
    assert "FAILED: the suite holds no such test" in nothing.output
    for folder, failures in (("well", "0"), ("broken", "1")):
        [suite] = ElementTree.parse(tmp_path / folder / "junit.xml").getroot().iter("testsuite")
        assert (suite.get("failures"), suite.get("errors")) == (failures, "0")
        page = (tmp_path / folder / "report.html").read_text()
        assert page.lstrip().startswith("<!DOCTYPE html>")
        assert "test_the_tuner_has_a_lock" in page


async def test_heat_fails_health() -> None:
    async with running_box() as box:
        health = await run("health.py", box.url, "--limit", "1", "--max-temperature", "20")
    assert (health.exit_code, health.marker) == (1, "SCRIPT_SUCCESS:false")
    assert "°C is over 20 °C" in health.output


async def test_a_box_that_is_off_fails_each() -> None:
    sentences = {
        "health.py": "power is off, not on",
        "zap.py": "the box refuses (409): stb-1 is off",
        "soak.py": "power is off, not on",
    }
    async with running_box() as box:
        await box.tell("/power", power="off")
        all_ran = await asyncio.gather(*(run(script, box.url) for script in sentences))
    for ran, sentence in zip(all_ran, sentences.values(), strict=True):
        assert (ran.exit_code, ran.marker) == (1, "SCRIPT_SUCCESS:false")
        assert f"FAILED: {sentence}" in ran.output


async def test_zap_notices_a_box_that_says_yes_and_stays_where_it_is() -> None:
    stuck = {"name": "stb-1", "power": "on", "channel": 1, "uptime_seconds": 1.0, "temperature_celsius": 50.0}
    raw = json.dumps(stuck).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + raw)
        writer.write_eof()
        await reader.read()  # the client's end, so that nothing of its body is left unread
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ran = await run("zap.py", f"http://127.0.0.1:{port}", "--channels", "1")
    assert (ran.exit_code, ran.marker) == (1, "SCRIPT_SUCCESS:false")
    assert "FAILED: asked for channel 8, the box is on 1" in ran.output


async def test_soak_notices_a_reboot_and_shows_its_progress_while_it_runs() -> None:
    async with running_box("--boot-seconds", "0.3") as box:
        await until_async(lambda: uptime_over(box, 0.2), within=5)
        process = await start("soak.py", box.url, "--seconds", "3", "--interval", "0.1")
        try:
            assert process.stdout is not None
            while b"power on" not in await asyncio.wait_for(process.stdout.readline(), LIMIT_SECONDS):
                pass
            await box.tell("/power", power="reboot")
        finally:
            soak = await ended(process)
        await until_async(lambda: power_is(box, "on"), within=5)
    assert (soak.exit_code, soak.marker) == (1, "SCRIPT_SUCCESS:false")
    assert "FAILED: restarted or switched off" in soak.output
    assert soak.output.count("RESTARTED") == 1


async def uptime_over(box: RunningBox, seconds: float) -> bool:
    uptime = (await box.state())["uptime_seconds"]
    assert isinstance(uptime, float)
    return uptime > seconds


async def test_a_box_that_is_gone_is_told_in_a_sentence(tmp_path: Path) -> None:
    async with running_box() as box:
        url = box.url
    scripts = ("health.py", "zap.py", "soak.py")
    dns = await run("dns.py", url, "--lookups", "1")
    assert "FAILED: 1 of 1 lookups of tv.lab: no answer (Connection refused)" in dns.output
    for script, ran in zip(
        scripts, await asyncio.gather(*(run(s, url, artifacts=tmp_path / s) for s in scripts)), strict=True
    ):
        assert (ran.exit_code, ran.marker) == (1, "SCRIPT_SUCCESS:false")
        assert f"FAILED: the box at {url}" in ran.output
        assert "Connection refused" in ran.output
        assert "Traceback" not in ran.output
        assert json.loads((tmp_path / script / "summary.json").read_text())["failures"]


async def test_a_device_without_an_address_is_told_in_a_sentence() -> None:
    ran = await run("health.py", "")
    assert (ran.exit_code, ran.marker) == (1, "SCRIPT_SUCCESS:false")
    assert "no address" in ran.output


async def test_power_boots_for_a_while_and_refuses_until_then() -> None:
    async with running_box("--boot-seconds", "2") as box:
        await box.tell("/power", power="reboot")
        refused = await box.tell("/channel", channel=5)
        assert (refused.status_code, refused.json()["error"]) == (409, "booting")
        await until_async(lambda: power_is(box, "on"), within=5)
        answer = await box.tell("/channel", channel=5)
        assert (answer.status_code, answer.json()["channel"]) == (200, 5)


REFUSALS = [
    ("POST", "/channel", '{"channel": 100}', 422, "invalid"),
    ("POST", "/channel", '{"channel": true}', 422, "invalid"),
    ("POST", "/channel", '{"chanel": 5}', 422, "invalid"),
    ("POST", "/key", '{"key": "SELF_DESTRUCT"}', 422, "invalid"),
    ("POST", "/power", "on", 400, "malformed"),
    ("POST", "/power", "[]", 400, "malformed"),
    ("POST", "/faults", '{"fault": "slow", "latency_ms": -1}', 422, "invalid"),
    ("POST", "/faults", '{"fault": "fire"}', 422, "invalid"),
    ("POST", "/faults", '{"fault": "tuner", "for": 5}', 422, "invalid"),
    ("DELETE", "/faults/fire", "", 404, "not_found"),
    ("POST", "/power", " " * 5000, 413, "too_large"),
    ("GET", "/nowhere", "", 404, "not_found"),
    ("PUT", "/state", "", 405, "method_not_allowed"),
]


async def test_every_refusal_is_json_with_a_reason() -> None:
    async with running_box() as box:
        for method, path, content, status, error in REFUSALS:
            answer = await box.client.request(method, path, content=content)
            refusal = answer.json()
            assert (answer.status_code, refusal["error"]) == (status, error), (method, path, content)
            assert refusal["reason"]


async def test_sigterm_stops_at_once_even_with_a_slow_answer_under_way() -> None:
    async with running_box("--verbose") as box:
        await box.tell("/faults", fault="slow", latency_ms=60_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(box.url.rpartition(":")[2]))
        writer.write(b"GET /state HTTP/1.1\r\nHost: stb-1\r\n\r\n")
        # Connections are taken in order: when a later one has its answer, the slow one is under way.
        async with httpx.AsyncClient(base_url=box.url, trust_env=False) as later:
            assert (await later.get("/health")).status_code == 200
        box.process.terminate()
        output, _ = await asyncio.wait_for(box.process.communicate(), 20)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert box.process.returncode == 0
    assert b" 200 " not in answer
    assert "stb-1 POST /faults 200" in output.decode()
    assert "stb-1 has stopped" in output.decode()


async def test_a_port_in_use_is_told_in_a_sentence() -> None:
    async with running_box() as box:
        port = box.url.rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.settopbox", "--port", port),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(second.communicate(), LIMIT_SECONDS)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in said.decode()
    assert "Traceback" not in said.decode()


def fenced(language: str) -> list[str]:
    """The code blocks of that language in the examples' README."""
    text = (ROOT / "examples" / "README.md").read_text()
    return [block.partition("```")[0].strip() for block in text.split(f"```{language}\n")[1:]]


async def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path) -> None:
    lines = [line for block in fenced("sh") for line in block.splitlines()]
    scripts = [shlex.split(line)[1:] for line in lines if " examples/scripts/" in line]
    assert [Path(path).name for path, *_ in scripts] == [
        *("health.py", "zap.py", "soak.py", "dns.py", "suite.py", "health.py")
    ]
    async with running_box() as box:
        for path, *options in scripts:
            here = {"http://127.0.0.1:9301": box.url, "127.0.0.1:9301": box.url.removeprefix("http://"), "10": "0.5"}
            given = [here.get(option, option) for option in options]
            ran = await run(Path(path).name, "", *given[1:])
            assert (ran.exit_code, ran.marker) == (0, "SCRIPT_SUCCESS:true"), (path, ran.output)

        on = str((await box.state())["channel"])
        (own_script,) = fenced("python")
        (tmp_path / "my_script.py").write_text(own_script)
        for channel, marker in ((on, "SCRIPT_SUCCESS:true"), ("99", "SCRIPT_SUCCESS:false")):
            ran = await run(str(tmp_path / "my_script.py"), box.url, "--channel", channel)
            assert ran.marker == marker, ran.output
