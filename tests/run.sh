#!/bin/sh
# tests/run.sh PYTHON [ARGS...]: all tests. Those that start whole systems and servers, and mostly wait (for minutes, for
# what was killed), run beside the others; the simulator, which waits for nothing, takes what both leave of the machine, and
# when it is done a share of the others runs in its place. What they say is printed after the others.
python=$1
shift
said=$(mktemp -d)
trap 'kill $beside $idle 2>/dev/null; wait; rm -rf "$said"' EXIT
trap 'exit 130' INT TERM

slow=
others=
rest=
for file in tests/integration/test_*.py; do
  case ${file##*/test_} in
    cli_up* | stack_* | watchdog_* | api_process.py | host_runner.py | tls.py) slow="$slow $file" ;;
    host_runner_* | ledger_* | live_logs.py | retention.py | scenarios.py | scheduler* | script_user.py | shim_bounds.py)
      rest="$rest $file" ;;
    *) others="$others $file" ;;
  esac
done

# shellcheck disable=SC2086 # file names of our own
"$python" -m pytest tests/e2e tests/chaos tests/containers $slow "$@" >"$said/waiting" 2>&1 &
beside=$!
(
  trap 'kill $now 2>/dev/null; wait; exit 143' TERM
  nice -n 19 "$python" -m pytest tests/simulation "$@" >"$said/simulated" 2>&1 &
  now=$!
  wait "$now"
  echo $? >"$said/simulated.code"
  # shellcheck disable=SC2086
  "$python" -m pytest $rest "$@" >"$said/rest" 2>&1 &
  now=$!
  wait "$now"
) &
idle=$!
# shellcheck disable=SC2086
"$python" -m pytest tests/unit tests/contract $others "$@"
prompt=$?
wait "$beside"
waiting=$?
cat "$said/waiting"
wait "$idle"
later=$?
simulated=$(cat "$said/simulated.code" 2>/dev/null || echo 1)
cat "$said/rest" "$said/simulated"

# 5: what ARGS chose has no test in this part.
status=5
for one in $prompt $waiting $later $simulated; do
  if [ "$one" != 5 ] && { [ $status = 5 ] || [ $status = 0 ]; }; then status=$one; fi
done
exit $status
