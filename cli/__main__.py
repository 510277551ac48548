"""`rigbeat`, and `python -m cli`."""

from __future__ import annotations

from cli.app import app


def main() -> None:
    """Run the command line; ends with an exit code of `cli.errors.ExitCode`."""
    app(prog_name="rigbeat")


if __name__ == "__main__":
    main()
