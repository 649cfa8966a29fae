# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What all platform scripts share: the pinned kernel, places, messages, timed steps, cache entries and locks.
# Sourced, never run. One copy per script; owns the variables ROOT_DIR, CACHE, LOGS and all functions below.

set -euo pipefail

PLATFORM=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
ROOT_DIR=$(cd -- "$PLATFORM/../.." && pwd -P)
# shellcheck disable=SC2034 # read by the scripts that source this file
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/banyan
LOGS=$ROOT_DIR/build/log
# Present only inside the toolchain root: `key=`, `kernel=`, `version=` and `mirror=` lines.
# shellcheck disable=SC2034 # read by the scripts that source this file
STAMP=/etc/banyan-toolchain

# shellcheck source=scripts/platform/kernel.conf
. "$PLATFORM/kernel.conf"

# The commands run get the signal too and clean up; what they leave behind is removed when the next run starts that step anew.
trap 'printf "\nbanyan: interrupted\n" >&2; exit 130' INT

note() { printf 'banyan: %s\n' "$*" >&2; }
die() { printf 'banyan: FAILED: %s\n' "$*" >&2; exit 1; }

# Whether file descriptor 2 is a terminal on which a line may be rewritten.
fancy() { [ -t 2 ] && [ "${TERM:-dumb}" != dumb ] && [ -z "${CI:-}" ]; }

# Prints how long the step $1 has been running: in place on a terminal, else a line every 30 s. Ends with its parent $2.
ticker() {
	local what=$1 parent=$2 seconds=0
	while sleep 1 && kill -0 "$parent" 2>/dev/null; do
		seconds=$((seconds + 1))
		if fancy; then
			printf '\r  %s ... %d s ' "$what" "$seconds" >&2
		elif [ $((seconds % 30)) -eq 0 ]; then
			printf '  %s ... %d s\n' "$what" "$seconds" >&2
		fi
	done
}

# The line of log $1 that most likely says why it ended, for the one-line failure message.
reason() {
	local line
	line=$(grep -aE '^(E: |error(\[|:)|fatal:|.*: (error|fatal error):|.*(not found|No such file|No space left|cannot|Cannot|unable to|Unable to|Could not))' "$1" |
		grep -avE '^W: ' | head -n 1) || true
	[ -n "$line" ] || line=$(grep -av '^[[:space:]]*$' "$1" | tail -n 1) || true
	printf '%.300s' "$line"
}

# step NAME WHAT CMD...: runs CMD with its output in build/log/NAME.log, shows WHAT and the elapsed time, and on
# failure prints one line with the reason and the log's name. Returns CMD's exit status. Errors are not fatal inside CMD
# when it is a function: it has to pass them on.
step() {
	local name=$1 what=$2 start status=0 tick log
	shift 2
	mkdir -p "$LOGS"
	log=$LOGS/$name.log
	start=$SECONDS
	if fancy; then printf '  %s ...' "$what" >&2; else printf '  %s ...\n' "$what" >&2; fi
	ticker "$what" $$ &
	tick=$!
	"$@" >"$log" 2>&1 </dev/null || status=$?
	kill "$tick" 2>/dev/null || true
	wait "$tick" 2>/dev/null || true
	if [ "$status" -eq 0 ]; then
		if fancy; then printf '\r'; fi >&2
		printf '  %s: done in %d s   \n' "$what" $((SECONDS - start)) >&2
	else
		if fancy; then printf '\n'; fi >&2
		note "FAILED: $what (exit $status after $((SECONDS - start)) s): $(reason "$log")"
		note "full log: $log"
	fi
	return "$status"
}

# Key of a cache entry: the first 16 hex digits of the SHA-256 of standard input.
key() { sha256sum | cut -c1-16; }

# Reads the package list given as $1: one package per line.
packages() { sed 's/#.*//' "$1" | tr -s '[:blank:]' '\n' | sed '/^$/d'; }

# locked LOCKFILE CMD...: runs CMD while no other process holds LOCKFILE; says so when it has to wait. Waits one hour at
# most, longer than any build takes. CMD's processes hold the lock too, so that what a killed run left running is waited for.
# Errors are not fatal inside CMD: it has to pass them on.
locked() {
	local file=$1 fd status=0
	shift
	mkdir -p "$(dirname -- "$file")"
	exec {fd}>"$file"
	if ! flock -w 3 "$fd"; then
		note "another run is making ${file%.lock}: waiting for it"
		flock -w 3600 "$fd" || die "another run holds $file for more than an hour"
	fi
	"$@" || status=$?
	exec {fd}>&-
	return "$status"
}

# Removes a directory that a root build made, also the parts that belong to subordinate user ids.
# Refuses while something is mounted below it: a bind mount may lead out of it.
remove_tree() {
	[ -e "$1" ] || return 0
	if awk -v dir="$(readlink -f -- "$1")/" 'index($5 "/", dir) == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; then
		die "not removing $1: something is mounted in it"
	fi
	if [ "$(id -u)" = 0 ]; then
		rm -rf --one-file-system -- "$1"
	else
		unshare --user --map-root-user --map-auto rm -rf --one-file-system -- "$1"
	fi
}
