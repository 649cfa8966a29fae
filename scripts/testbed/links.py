# SPDX-License-Identifier: GPL-2.0
"""What happens to a machine's cable: cut, slow, lossy, narrow.

One object per cluster, owned by the supervisor. A whole link is the machine's tap as a
port of the bridge. A cut one is no port (the machine's card does not notice, as when a
switch fails). A shaped one goes through a relay process (relay.py), because many
kernels come without netem: tap <-> relay <-> a second tap, which is the port.
"""

import subprocess
import sys
import threading
from dataclasses import asdict, dataclass

from .machine import run


@dataclass
class Shape:
    """`delay` ms and `loss` percent in each direction, `rate` Mbit/s; 0 is none."""

    down: bool = False
    delay: float = 0
    loss: float = 0
    rate: float = 0

    def shaped(self) -> bool:
        return bool(self.delay or self.loss or self.rate)


class Links:
    """State of all links of one cluster, by tap."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        self.shapes: dict[str, Shape] = {}
        self.relays: dict[str, subprocess.Popen] = {}
        self.lock = threading.Lock()

    def status(self) -> dict:
        """Only the links that are not whole."""
        return {tap: asdict(shape) for tap, shape in self.shapes.items() if shape != Shape()}

    def change(self, tap: str, request: dict) -> None:
        """`up` makes the link whole; `down` cuts it; figures replace the earlier ones."""
        with self.lock:
            shape = self.shapes.get(tap, Shape())
            figures = {name: request[name] for name in ("delay", "loss", "rate")
                       if request.get(name) is not None}
            if request.get("up"):
                shape = Shape()
            elif not request.get("down") and not figures:
                raise RuntimeError("say --down, --up, --delay, --loss or --rate")
            for name, value in figures.items():
                if value < 0 or (name == "loss" and value > 100):
                    raise RuntimeError(f"--{name} {value} makes no sense")
            new = Shape(**{**asdict(shape), **figures,
                           "down": bool(request.get("down")) or shape.down})
            self._apply(tap, new)
            self.shapes[tap] = new

    def _apply(self, tap: str, shape: Shape) -> None:
        relay = self.relays.pop(tap, None)
        if relay is not None:
            relay.kill()
            relay.wait()
        if shape.down:
            run("ip", "link", "set", tap, "nomaster")
        elif not shape.shaped():
            run("ip", "link", "set", tap, "master", self.bridge)
        else:
            run("ip", "link", "set", tap, "nomaster")
            port = tap.replace("tap", "relay")
            relay = subprocess.Popen(
                [sys.executable, "-m", "testbed.relay", tap, port, str(shape.delay),
                 str(shape.loss), str(shape.rate)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            self.relays[tap] = relay
            if relay.stdout.readline().strip() != "ready":
                raise RuntimeError(f"the relay of {tap} does not start; see supervisor.log")
            run("ip", "link", "set", port, "master", self.bridge, "up")
