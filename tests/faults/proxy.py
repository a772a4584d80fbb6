"""A TCP proxy before the database that can cut every connection, and hold all bytes back."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

_CHUNK = 65_536


class Proxy:
    """Passes bytes on between TCP clients and a server's Unix socket.

    Attributes:
        connections: that are open now.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._pairs)

    def cut(self) -> int:
        """Cut every connection, whatever it is in the middle of; return how many."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for one in pair:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        return len(pairs)

    def stall(self) -> None:
        """Hold everything back; the connections stay open."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let what was held back go on."""
        self._flowing.set()

    def close(self) -> None:
        """Cut everything and take no more."""
        self._closed = True
        self.flow()
        # Wakes `accept`, which closing alone would not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join(10)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self._upstream)
        except OSError:
            client.close()
            server.close()
            return
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        try:
            self._pump(client, server)
        except OSError:
            pass  # one side is gone, so the other goes too
        finally:
            with self._lock:
                self._pairs.discard(pair)
            for one in pair:
                one.close()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not self._closed:
                for key, _ in selector.select(0.5):
                    assert isinstance(key.fileobj, socket.socket)
                    content = key.fileobj.recv(_CHUNK)
                    self._flowing.wait()
                    if not content:
                        return
                    key.data.sendall(content)


@contextmanager
def before(url: str) -> Iterator[tuple[Proxy, str]]:
    """Yield a proxy before the database of `url` (by a Unix socket), and the URL through it."""
    said = conninfo_to_dict(url)
    proxy = Proxy(f"{said['host']}/.s.PGSQL.{said['port']}")
    try:
        user, name = quote(str(said["user"])), quote(str(said["dbname"]))
        yield proxy, f"postgresql://{user}@127.0.0.1:{proxy.port}/{name}?sslmode=disable"
    finally:
        proxy.close()
