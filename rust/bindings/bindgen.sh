#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Generates the bindings for what kernel::bindings lacks, sharing its types.
#
# usage: BINDGEN=... bindgen.sh KERNEL_BINDINGS OUT HEADER BINDGEN_ARGUMENTS... -- C_FLAGS...
#
# A first pass shows which types the allowlist draws in. The second leaves out those that kernel::bindings has in full, so that a
# struct is one type in both crates. A type that kernel::bindings knows only as a forward declaration stays.
set -eu

kernel=$1
out=$2
header=$3
shift 3

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Prints the names of the types that a generated file defines in full.
defined_types() {
	awk '
		/^pub (struct|union) / {
			name = $3
			sub(/[^A-Za-z0-9_].*/, "", name)
			getline body
			if (body !~ /_unused: \[u8; 0\]/)
				print name
		}
		/^pub type / { print $3 }
		/^pub use self::/ { name = $NF; sub(/;/, "", name); print name }
	' "$1" | sort -u
}

"$BINDGEN" "$header" -o "$tmp/first" "$@"
defined_types "$tmp/first" > "$tmp/ours"
defined_types "$kernel" > "$tmp/theirs"
comm -12 "$tmp/ours" "$tmp/theirs" | sed 's/^/--blocklist-type=/' > "$tmp/blocked"

# Type names contain no blanks, so that word splitting is right here.
# shellcheck disable=SC2046
set -- $(cat "$tmp/blocked") "$@"
"$BINDGEN" "$header" -o "$tmp/second" "$@"
mv "$tmp/second" "$out"
