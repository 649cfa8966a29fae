# SPDX-License-Identifier: GPL-2.0
"""What happens to a machine's cable: down, up, and (later) delay, loss, rate."""

from .machine import run


class Links:
    """State of all links of one cluster, by tap."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        self.state: dict[str, dict] = {}

    def status(self) -> dict:
        return self.state

    def change(self, tap: str, request: dict) -> None:
        if request.get("down"):
            run("ip", "link", "set", tap, "nomaster")
            self.state.setdefault(tap, {})["down"] = True
        elif request.get("up"):
            run("ip", "link", "set", tap, "master", self.bridge)
            self.state.pop(tap, None)
        else:
            raise RuntimeError("say --down or --up")
