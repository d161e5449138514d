"""The embedded broker: Valkey on a unix socket, keeping its queues through a restart."""

import contextlib
import socket
from pathlib import Path
from urllib.parse import quote

from config.embedded import binaries
from config.embedded.server import EmbeddedServerError, Server


class ValkeyServer(Server):
    """Valkey with an append-only file for the demo (a killed broker keeps its tasks), in memory for tests."""

    def __init__(self, profile: str = "demo", servers_dir: Path | None = None) -> None:
        super().__init__("valkey" if profile == "demo" else f"valkey-{profile}", servers_dir)
        self.keeps_data = profile != "test"
        self.socket = self.socket_dir / "valkey.sock"

    def url(self) -> str:
        """The address, in CELERY_BROKER_URL's form."""
        return f"redis+socket://{quote(str(self.socket))}"

    def prepare(self) -> None:
        """Make the data folder and remove a dead server's socket."""
        self.make_folder(self.data)
        self.socket.unlink(missing_ok=True)

    def command(self) -> list[str]:
        """The server, without TCP."""
        try:
            program = binaries.valkey_server(self.home.parent / "programs")
        except FileNotFoundError as error:
            raise EmbeddedServerError(str(error)) from error
        command = [str(program), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += ["--dir", str(self.data), "--daemonize", "no", "--save", "", "--maxmemory-policy", "noeviction"]
        return [*command, "--appendonly", "yes" if self.keeps_data else "no", "--appendfsync", "everysec"]

    def answers(self) -> bool:
        """Whether it answers PING (while it loads its file it says LOADING instead)."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        return False
