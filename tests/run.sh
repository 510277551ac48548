#!/bin/sh
# tests/run.sh PYTHON [ARGS...]: all tests. Those of whole systems, which mostly wait (for minutes, for what was killed), run
# beside the others; the simulator, which waits for nothing, takes what both leave of the machine. What they say is printed
# after the others.
python=$1
shift
said=$(mktemp -d)
trap 'kill $beside $idle 2>/dev/null; wait; rm -rf "$said"' EXIT
trap 'exit 130' INT TERM

"$python" -m pytest tests/e2e tests/chaos tests/containers "$@" >"$said/waiting" 2>&1 &
beside=$!
nice -n 19 "$python" -m pytest tests/simulation "$@" >"$said/simulated" 2>&1 &
idle=$!
"$python" -m pytest tests/unit tests/contract tests/integration "$@"
prompt=$?
wait "$beside"
waiting=$?
cat "$said/waiting"
wait "$idle"
simulated=$?
cat "$said/simulated"

# 5: what ARGS chose has no test in this part.
status=5
for one in $prompt $waiting $simulated; do
  if [ "$one" != 5 ] && { [ $status = 5 ] || [ $status = 0 ]; }; then status=$one; fi
done
exit $status
