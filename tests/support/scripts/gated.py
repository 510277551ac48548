"""A script whose end the test decides: it notes its execution, then waits until the test opens its gate."""

import argparse
import os
import pathlib
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("userinterface", nargs="?")
parser.add_argument("--effects", required=True, help="folder of the side effects and of the gates")
parser.add_argument("--gate", help="wait until this file is in the folder")
parser.add_argument("--seconds", type=float, default=0, help="take so long")
parser.add_argument("--ticks", type=int, default=0, help="print the time so often, every quarter of a second")
parser.add_argument("--leave", action="store_true", help="leave a report and its JUnit file behind")
parser.add_argument("--brood", action="store_true", help="have a child in a session of its own, for two minutes")
parser.add_argument("--fail", action="store_true", help="end with exit code 3")
parser.add_argument("--host")
parser.add_argument("--device")
arguments = parser.parse_args()

folder = pathlib.Path(arguments.effects)
line = f"{os.environ['RIGBEAT_EXECUTION_ID']} {arguments.device}\n"
with (folder / "effects.log").open("a") as effects:
    effects.write(line)
print("started on", arguments.device, flush=True)
if arguments.brood and os.fork() == 0:
    os.setsid()
    time.sleep(120)
    os._exit(0)
if arguments.leave:
    artifacts = pathlib.Path(os.environ["RIGBEAT_ARTIFACTS_DIR"])
    (artifacts / "report.html").write_text("<h1>gated</h1>")
    (artifacts / "junit.xml").write_text(
        '<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>'
    )
for _ in range(arguments.ticks):
    print("tick", time.time(), flush=True)
    time.sleep(0.25)
time.sleep(arguments.seconds)
deadline = time.monotonic() + 100
while arguments.gate and not (folder / arguments.gate).exists():
    if time.monotonic() > deadline:
        sys.exit("the gate stayed closed")
    time.sleep(0.02)
print("SCRIPT_SUCCESS:false" if arguments.fail else "SCRIPT_SUCCESS:true", flush=True)
sys.exit(3 if arguments.fail else 0)
