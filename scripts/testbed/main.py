# SPDX-License-Identifier: GPL-2.0
"""A Banyan cluster of virtual machines on this machine.

  scripts/cluster up --nodes 2        boot a head and two nodes (about a minute)
  scripts/cluster run 1 -- uname -a   run a command; -t for a terminal
  scripts/cluster cp FILE 1:/tmp/     copy to a machine, or back
  scripts/cluster push                install the modules and tool as built now
  scripts/cluster console 1           print the console log; -f follows it
  scripts/cluster check               look for oopses and warnings in all logs
  scripts/cluster kill 1; scripts/cluster start 1
  scripts/cluster link 1 --down       cut the cable; --up, --delay MS, --loss, --rate
  scripts/cluster down

NODE is a number or 'head'. What `make modules` left is on the nodes at `up`; nothing is
loaded by hand there but by the banyan.service, if there is one. /home is shared by all
nodes; / is the read-only network root, /tmp and /var belong to the node.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True

from testbed.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(__doc__))
