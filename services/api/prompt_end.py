"""HTTP over TLS that ends when it is told to."""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle


class PromptEnd(H11Protocol):
    """As uvicorn has it, but idle connections are not waited for when the worker stops.

    TLS ends with a word of both sides, and a client that keeps a connection for later does not listen on it (httpx):
    uvloop would wait for it half a minute, and the worker with it.
    """

    def shutdown(self) -> None:
        """Close what is idle at once; what is being answered is answered."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request, whatever its type says
        # What was answered may still be on its way to a slow client.
        is_idle = (cycle is None or cycle.response_complete) and not self.transport.get_write_buffer_size()
        super().shutdown()
        if is_idle:
            self.transport.abort()
