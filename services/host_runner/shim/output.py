"""What the script prints: kept up to a cap, and searched for its markers."""

import posix

LONGEST_MARKER = 128


class Markers:
    """Finds the last SCRIPT_SUCCESS and SCRIPT_RESULT_ID lines in output that comes in pieces."""

    def __init__(self) -> None:
        self.success = ""
        self.result_id = ""
        self._line = b""
        self._is_overlong = False

    def feed(self, piece: bytes) -> None:
        """More output."""
        cut = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        if cut:
            lines = self._line + piece[:cut]
            if b"SCRIPT_" in lines:
                # What is left of an overlong line is no line.
                self._look(lines.replace(b"\r", b"\n").split(b"\n")[self._is_overlong :])
            self._line, self._is_overlong = b"", False
        self._line += piece[cut:][: LONGEST_MARKER + 1]
        if len(self._line) > LONGEST_MARKER:
            self._line, self._is_overlong = b"", True

    def end(self) -> None:
        """No more output: the last line counts also without its newline."""
        if not self._is_overlong:
            self._look([self._line])

    def _look(self, lines: list[bytes]) -> None:
        for line in lines:
            name, _, value = line.strip().decode("ascii", "replace").partition(":")
            value = value.strip().lower()
            if name == "SCRIPT_SUCCESS" and value in ("true", "false"):
                self.success = value
            elif name == "SCRIPT_RESULT_ID" and self._is_uuid(value):
                self.result_id = value

    @staticmethod
    def _is_uuid(value: str) -> bool:
        digits = value.split("-")
        return [len(part) for part in digits] == [8, 4, 4, 4, 12] and not value.strip("0123456789abcdef-")


class Output:
    """The file with the output. Full disk or full measure: what comes is then dropped, never refused."""

    def __init__(self, descriptor: int, cap: int) -> None:
        self.kept = 0
        self.dropped = 0
        self.error = ""
        self.markers = Markers()
        self._descriptor = descriptor
        self._cap = cap
        self._ends_line = True

    def take(self, piece: bytes) -> None:
        """More output."""
        self.markers.feed(piece)
        room = 0 if self.dropped or self.error else self._cap - self.kept
        self._write(piece[:room])
        if len(piece) > room:
            if not self.dropped and not self.error:
                newline = "" if self._ends_line else "\n"
                self._write(f"{newline}[rigbeat: output capped at {self._cap} bytes]\n".encode())
            self.dropped += len(piece) - room

    def _write(self, piece: bytes) -> None:
        while piece and not self.error:
            try:
                written = posix.write(self._descriptor, piece)
            except OSError as error:
                self.error = f"The output after byte {self.kept} could not be written: {error.strerror}"
                self.dropped += len(piece)
                return
            self.kept += written
            self._ends_line = piece[written - 1 : written] == b"\n"
            piece = piece[written:]
