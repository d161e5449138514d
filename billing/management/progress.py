"""A progress bar for commands: one line that is redrawn on a terminal, a plain line now and then elsewhere."""

import time
from typing import IO

WIDTH = 30
TERMINAL_SECONDS = 0.1
PLAIN_SECONDS = 5.0


class ProgressBar:
    """Shows how many of about `total` are done, how fast, and how long the rest will take."""

    def __init__(self, stream: IO[str], *, total: int, unit: str, done: int = 0) -> None:
        self._stream, self._total, self._unit, self._first = stream, total, unit, done
        self._is_terminal = stream.isatty()
        self._started_at = self._shown_at = time.monotonic()

    def show(self, done: int) -> None:
        """Draw, unless it was drawn a moment ago."""
        now = time.monotonic()
        if now - self._shown_at >= (TERMINAL_SECONDS if self._is_terminal else PLAIN_SECONDS):
            self._shown_at = now
            self._draw(done)

    def finish(self, done: int) -> None:
        """Draw the last state and end the line."""
        self._draw(done)
        if self._is_terminal:
            self._stream.write("\n")

    def _draw(self, done: int) -> None:
        seconds = max(time.monotonic() - self._started_at, 0.001)
        rate = (done - self._first) / seconds
        total = max(self._total, done)
        left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
        text = f"{done:,} of {total:,} {self._unit} ({done * 100 // total if total else 100} %), {rate:,.0f}/s{left}"
        if self._is_terminal:
            filled = done * WIDTH // total if total else WIDTH
            self._stream.write(f"\r\x1b[K[{'#' * filled}{'.' * (WIDTH - filled)}] {text}")
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
