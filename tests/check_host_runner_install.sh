#!/usr/bin/env bash
# A device host installs `rigbeat[host-runner]` and nothing else: does every module of the runner import there, and do
# the web framework, the database driver and the rest of the centre stay away? Usage: check_host_runner_install.sh [PYTHON]
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "${1:-python3}")
[[ $python = /* ]] || python=$PWD/$python

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Built from a copy: a build folder that is left over in the checkout would bring its old modules along.
mkdir "$scratch/source"
cd "$root"
cp -R pyproject.toml README.md LICENSE libs services cli examples "$scratch/source/"

"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  -c "$root/constraints.txt" "$scratch/source[host-runner]"

cd "$scratch"
"$scratch/venv/bin/python" -I - "$root" <<'PY'
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

import services.host_runner

root, installed = Path(sys.argv[1]), Path(services.host_runner.__file__).parents[2]
data = [
    path.relative_to(root)
    for room in ("services/host_runner", "libs/chassis", "libs/contracts")
    for path in (root / room).rglob("*.*")
    if path.suffix in {".sql", ".toml", ".json", ".ini"}
]
missing = sorted(str(path) for path in data if not (installed / path).is_file())
if missing:
    sys.exit(f"not in the package (see package-data in pyproject.toml): {', '.join(missing)}")

names = [m.name for m in pkgutil.walk_packages(services.host_runner.__path__, "services.host_runner.")]
for name in names:
    importlib.import_module(name)

centre = ("asyncpg", "croniter", "fastapi", "obstore", "psycopg", "sqlalchemy", "sse_starlette", "starlette", "uvicorn")
present = [name for name in centre if importlib.util.find_spec(name) is not None]
if present:
    sys.exit(f"rigbeat[host-runner] brings along what a host must not need: {', '.join(present)}")
if len(names) < 5:
    sys.exit(f"only {len(names)} modules of services.host_runner were found: is the package complete?")
print(f"rigbeat[host-runner]: {len(names)} modules import in a clean environment, without {', '.join(centre)}")
PY
