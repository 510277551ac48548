"""`python -m tests.contract.write_golden 0.1.0`: write the golden files of a release, once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.contract.samples import SAMPLES


def main(release: str) -> None:
    folder = Path(__file__).parent / "golden" / release
    folder.mkdir()
    for sample in SAMPLES:
        text = json.dumps(json.loads(sample.model_dump_json()), indent=1, ensure_ascii=False)
        (folder / f"{sample.type}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
