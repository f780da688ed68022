# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# Common to the parts of deploy/setup, which sources them, and to deploy/demo and deploy/test.

user_home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}

if [ -n "${LIFEBOAT_CACHE_DIR:-}" ]; then
  cache=$LIFEBOAT_CACHE_DIR
elif [ -n "${XDG_CACHE_HOME:-}" ]; then
  cache=$XDG_CACHE_HOME/lifeboat
else
  cache=$user_home/.cache/lifeboat
fi
cache=$(realpath -m "$cache") # the interpreters of unpacked programs are absolute paths

scratch= # temporary folder in the cache, gone at exit

# say VERB TEXT: one line of what is done; VERB is kept, made or apt
say() { printf '%-5s %s\n' "$1" "$2"; }

die() {
  printf 'deploy/%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# version_ge VERSION LEAST: false too when VERSION is empty
version_ge() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$2"; }

skip_installed() { [ "${LIFEBOAT_SETUP_SKIP_INSTALLED:-}" = 1 ]; }

can_be_root() { [ "$(id -u)" = 0 ] || have sudo; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "this needs root, and there is no sudo: $*"
  fi
}

require_debian() {
  { have apt-get && have dpkg; } || die 'only Debian is supported: there is no apt-get and dpkg here'
}

# Makes the cache folder and takes its lock, so that two set-ups never fill it at the same time.
open_cache() {
  mkdir -p "$cache/bin"
  exec {cache_lock}>"$cache/.lock"
  flock -n "$cache_lock" || {
    say wait "another deploy/setup is filling $cache"
    flock "$cache_lock"
  }
  rm -rf "$cache"/.scratch.* # of a run that was killed
  scratch=$(mktemp -d "$cache/.scratch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
}
