#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Installs the control tool and all that belongs to it under DESTDIR:
#
#   install.sh DESTDIR [BINARY]
#
# BINARY is banyanctl as it was built, by default build/banyanctl of this tree. It must run on this
# machine: it writes its own manual pages and completions. Modules are installed elsewhere.
set -eu

usage='usage: install.sh DESTDIR [BINARY]'
here=$(cd "$(dirname "$0")" && pwd)
destination=${1:?"$usage"}
binary=${2:-$here/../../build/banyanctl}
[ -x "$binary" ] || {
	echo "install.sh: $binary is not there: make tool" >&2
	exit 1
}

put() { # MODE FILE PLACE
	install -D -m "$1" "$2" "$destination/$3"
}

put 755 "$binary" usr/bin/banyanctl
put 644 "$here/systemd/banyan.service" usr/lib/systemd/system/banyan.service
put 644 "$here/modprobe.d/banyan.conf" usr/lib/modprobe.d/banyan.conf
put 644 "$here/udev/60-banyan.rules" usr/lib/udev/rules.d/60-banyan.rules
put 644 "$here/banyan.conf" etc/banyan/banyan.conf
"$binary" generate "$destination/usr/share"
find "$destination/usr/share/man/man1" -name 'banyanctl*.1' -exec gzip -9nf {} +
