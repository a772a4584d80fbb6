"""Whether a port can be listened on."""

import socket

from metering.kit.errors import Conflict


class PortInUse(Conflict):
    """Another program listens on the address and port; `PAYGO_PORT` names another."""

    code = "port-in-use"
    title = "The port is in use"


def check_port(host: str, port: int) -> None:
    """Refuse a port that cannot be listened on.

    Raises:
        PortInUse: something else listens there, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except (OSError, OverflowError) as error:
            raise PortInUse(
                f"paygo cannot listen on {host} port {port} ({error});"
                " set PAYGO_PORT or --port to a free one."
            ) from None
