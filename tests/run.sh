#!/bin/sh
# tests/run.sh PYTHON [ARGS...]: all tests. Those of whole systems, which mostly wait (for minutes, for what was killed), run
# beside the others, and what they say is printed after them.
python=$1
shift
said=$(mktemp)
trap 'kill "$beside" 2>/dev/null; wait; rm -f "$said"' EXIT
trap 'exit 130' INT TERM

"$python" -m pytest tests/e2e tests/chaos tests/containers "$@" >"$said" 2>&1 &
beside=$!
"$python" -m pytest tests/unit tests/contract tests/integration "$@"
prompt=$?
wait "$beside"
waiting=$?
cat "$said"

# 5: what ARGS chose has no test in this half.
[ $prompt = 5 ] && [ $waiting = 5 ] && exit 5
[ $prompt = 5 ] && prompt=0
[ $waiting = 5 ] && waiting=0
exit $((prompt ? prompt : waiting))
