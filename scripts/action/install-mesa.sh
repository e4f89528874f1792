#!/bin/bash
# Installs Mesa's software Vulkan driver on a runner of Ubuntu 24.04 or Debian 13, or newer, from packages that CACHE keeps.
# Dawn takes Mesa from 24 on: Ubuntu 22.04's and Debian 12's own are older (scripts/install-lavapipe.sh is for Debian 12).
set -euo pipefail
archives="${CACHE:?action.yml sets it}/apt"
mkdir -p "$archives/partial"
sudo=()
if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
apt=("${sudo[@]}" apt-get -q -y -o "Dir::Cache::archives=$archives" -o APT::Keep-Downloaded-Packages=true)
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends mesa-vulkan-drivers libvulkan1
# apt runs as root; the cache is kept by the runner's own user.
"${sudo[@]}" rm -rf "$archives/partial" "$archives/lock"
"${sudo[@]}" chmod -R a+rX "$archives"
version=$(dpkg-query -W -f='${Version}' mesa-vulkan-drivers)
if [ "${version%%.*}" -lt 24 ]; then
  echo "Mesa $version is older than 24: WebGPU will not take it; use ubuntu-24.04" >&2
  exit 1
fi
echo "Mesa $version"
