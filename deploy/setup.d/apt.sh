# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# Packages of the machine's own release. The parts of the set-up first say what they want, then all that is missing
# is installed in one transaction: apt then picks one Java for the JDK and for Maven, not two.
#
# None of the packages starts a service: redis comes as redis-tools (see servers.sh), and iperf3's is off unless its
# debconf question was answered otherwise.

wanted=()
apt_is_fresh=

want() {
  local package
  for package in "$@"; do
    case " ${wanted[*]} " in
      *" $package "*) ;;
      *) wanted+=("$package") ;;
    esac
  done
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# The package lists are fetched once, and only when something is missing. Who can't fetch them uses those that are there.
refresh_apt() {
  if [ -n "$apt_is_fresh" ] || ! can_be_root; then
    return
  fi
  as_root apt-get -qq -o Acquire::Retries=5 update || die 'apt-get update failed: are the apt sources reachable?'
  apt_is_fresh=1
}

# candidate PACKAGE: the version that apt would install, or nothing
candidate() { LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: //p' | grep -v '^(none)$' || true; }

want_build_packages() {
  want ca-certificates gcc make libc6-dev fuse3 iproute2 util-linux python3
}

want_test_packages() {
  want valgrind iperf3 sqlite3 redis-tools samtools shellcheck
  want rclone zstd python3-numpy # what perf/ measures and compares with
  want xfsprogs btrfs-progs # the cache seals by shared blocks where the file system has them
}

install_wanted() {
  local package missing=()
  for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then
    say kept "${#wanted[@]} apt packages"
    return
  fi
  refresh_apt
  say apt "installs ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=5 -o Dpkg::Use-Pty=0 \
    --no-install-recommends install "${missing[@]}" >"$scratch/apt.log" 2>&1 </dev/null || {
    cat "$scratch/apt.log" >&2
    die "apt-get could not install: ${missing[*]}"
  }
  local more
  more=$(sed -n 's/^Setting up \([^ ]*\) .*/\1/p' "$scratch/apt.log" | wc -l)
  say made "$more apt packages, dependencies included"
}
