#!/usr/bin/env bash
# Installs what Framelog is built from and needs to run, on Debian 12 and
# Ubuntu 24.04; with "test" also what its tests need. Does nothing where
# everything is there. Asks nothing but what sudo asks.
set -euo pipefail

packages=(
  gcc g++ libc6-dev pkg-config git ca-certificates
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav glib-networking
)

# The page is bundled with Node, the distribution's where there is none.
node_major() { node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p'; }
if [ "$(node_major || true)" = "" ]; then
  packages+=(nodejs)
elif [ "$(node_major)" -lt 18 ]; then
  echo "deps: Node $(node --version) is too old, 18 or newer is needed" >&2
  exit 1
fi
command -v npm >/dev/null || packages+=(npm)

if [ "${1:-}" = test ]; then
  packages+=(
    curl procps gstreamer1.0-tools ffmpeg nginx-light
    python3-gi python3-msgpack python3-confluent-kafka python3-numpy python3-opencv
    gir1.2-gstreamer-1.0 gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0
    default-jre-headless maven prometheus prometheus-alertmanager
    mpv vlc-bin vlc-plugin-base
  )
  # Ubuntu's chromium and Firefox are ways to install a snap: tests with a
  # browser skip.
  . /etc/os-release
  if [ "${ID:-}" = debian ]; then packages+=(chromium firefox-esr); fi
fi

missing=()
for p in "${packages[@]}"; do
  case "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" in
    installed) ;;
    *) [ "$p" = nginx-light ] && command -v /usr/sbin/nginx >/dev/null && continue
       missing+=("$p") ;;
  esac
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "deps: no apt-get here; install by hand what these Debian packages hold: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "deps: run as root, or install sudo: ${missing[*]} are missing" >&2; exit 1; }
  as_root=(sudo)
fi
echo "deps: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
quiet() { # prints what a command says only where it fails
  "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; return 1; }
}
# sudo asks for its password on the terminal, so before the output is put away.
[ ${#as_root[@]} -eq 0 ] || sudo -v
quiet "${as_root[@]}" apt-get update -q
# A fresh machine may be installing updates by itself: they are waited for.
quiet "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends "${missing[@]}"
