#!/bin/bash
# Gives a Debian 12 machine without a GPU a Vulkan driver that Dawn (npm `webgpu`) accepts: Mesa's lavapipe >= 24, which
# bookworm-backports has (Debian 12's own, 22.3, is refused by Dawn). Does nothing where a fit driver is installed.
# Exit: 0 ready, 1 failed, 3 not ours to do (another system, or not root).
set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
suite=bookworm-backports
case "${1:-}" in
  "") ;;
  -h | --help) sed -n '2,4s/^# //p' "$0"; echo "Usage: sudo scripts/install-lavapipe.sh"; exit 0 ;;
  *) echo "install-lavapipe: unknown argument $1; see --help" >&2; exit 2 ;;
esac
say() { echo "install-lavapipe: $*"; }

mesa() { dpkg-query -W -f='${db:Status-Status} ${Version}' mesa-vulkan-drivers 2>/dev/null | sed -n 's/^installed //p'; }
ready() { local v; v=$(mesa); [ -n "$v" ] && [ "${v%%.*}" -ge 24 ] && ldconfig -p | grep -q 'libvulkan\.so\.1'; }

if ready; then say "mesa-vulkan-drivers $(mesa) is installed"; exit 0; fi
. /etc/os-release 2>/dev/null || true
if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-}" != 12 ]; then
  say "this is ${PRETTY_NAME:-an unknown system}: install Mesa's Vulkan drivers >= 24 and the Vulkan loader (Debian 13, Ubuntu 24.04: apt-get install mesa-vulkan-drivers libvulkan1)"
  exit 3
fi
if [ "$(id -u)" != 0 ]; then say "needs root"; exit 3; fi

field() { apt-get indextargets --no-release-info --format "$1" 'Created-By: Packages' "Release: $2" 'Component: main' "Architecture: $(dpkg --print-architecture)" 2>/dev/null | head -n 1; }
if [ -z "$(field '$(REPO_URI)' $suite)" ]; then
  uri=$(field '$(REPO_URI)' bookworm) # the mirror that this machine uses already
  if [ -z "$uri" ]; then say "apt has no source for bookworm main"; exit 1; fi
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$uri" $suite \
    >/etc/apt/sources.list.d/$suite.sources
fi
apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends -t $suite mesa-vulkan-drivers libvulkan1; } >"$log" 2>&1 || ! ready; then
  tail -n 15 "$log"
  say "FAILED"
  exit 1
fi
say "mesa-vulkan-drivers $(mesa) installed from $suite"
