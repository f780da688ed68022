#!/bin/bash
# Runs deploy/setup on a Debian with nothing on it, as a newcomer would, and checks what it promises.
#
#   fresh-machine-test.sh SUITE [build|test]
#
# SUITE is a Debian release (bookworm, trixie). The machine is debootstrap's smallest system in a folder that is made
# the root of PID, mount, IPC and UTS namespaces of its own: same kernel, same network. What this machine needs to reach
# the mirrors (resolver, apt's Acquire settings, own certificates, proxy variables, Maven settings) goes with it. Needs
# root and debootstrap; takes 1 minute for build and 6 for test, and 1.5 or 6 GB below TMPDIR.
# shellcheck disable=SC2016 # most commands are expanded in the other machine
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../.." && pwd)
suite=${1:?usage: fresh-machine-test.sh SUITE [build|test]}
what=${2:-build}
case $what in
  build | test) ;;
  *) echo "fresh-machine-test: $what is neither build nor test" >&2 && exit 2 ;;
esac
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
  echo 'fresh-machine-test: needs root and debootstrap (apt-get install debootstrap)' >&2
  exit 2
fi
. "$root/deploy/setup.d/common.sh"
. "$root/deploy/setup.d/apt.sh"
. "$root/deploy/setup.d/later-release.sh"

machine=$(mktemp -d "${TMPDIR:-/var/tmp}/lifeboat-fresh-$suite.XXXXXX")
chmod 755 "$machine"
trap 'rm -rf --one-file-system "$machine"' EXIT
passed=0 failed=0

# inside COMMAND...: runs it in the fresh machine, with a newcomer's environment
inside() {
  local variable environment=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb)
  for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY GOPROXY GOSUMDB GONOSUMDB; do
    if [ -n "${!variable:-}" ]; then environment+=("$variable=${!variable}"); fi
  done
  unshare --mount --pid --ipc --uts --fork --kill-child bash -c '
    machine=$1; shift
    mount --bind "$machine" "$machine"
    mount -t proc proc "$machine/proc"
    mount --rbind /sys "$machine/sys"
    mount --rbind /dev "$machine/dev"
    cd "$machine"
    pivot_root . .
    umount -l .
    exec </dev/null
    for fd in /proc/$$/fd/*; do # a file of the world outside would make a dump fail
      fd=${fd##*/}
      if [ "$fd" -gt 2 ] && [ "$fd" != 255 ]; then eval "exec $fd>&-"; fi
    done
    exec env -i "$@"' sh "$machine" "${environment[@]}" "$@"
}

# check NAME COMMAND...: one test
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok     $name"
  else
    failed=$((failed + 1))
    echo "failed $name"
    printf '%s\n' "$output" | tail -20 | sed 's/^/       /'
  fi
}

# in_project SCRIPT: a bash script in the fresh machine's checkout, after env.sh was sourced
in_project() { inside bash -euo pipefail -c "cd /lifeboat && . /root/.cache/lifeboat/env.sh && $1"; }

bare_machine() {
  local archive
  archive=$(debian_archive)
  debootstrap --variant=minbase "$suite" "$machine" "$archive" >"$machine.log" 2>&1 || {
    tail -20 "$machine.log" >&2
    exit 1
  }
  rm -f "$machine.log" "$machine"/var/cache/apt/archives/*.deb
  rm -rf "$machine"/var/lib/apt/lists/*
  if [ "$suite" != bookworm ]; then # Debian 13 installs write this form of sources file
    rm "$machine/etc/apt/sources.list"
    cat >"$machine/etc/apt/sources.list.d/debian.sources" <<EOF
Types: deb
URIs: $archive
Suites: $suite $suite-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
  fi
  cp --remove-destination -L /etc/resolv.conf /etc/hosts "$machine/etc/"
  { grep -lsE '^Acquire' /etc/apt/apt.conf /etc/apt/apt.conf.d/* || true; } | xargs -r cp -t "$machine/etc/apt/apt.conf.d/"
  if [ -d /usr/local/share/ca-certificates ]; then
    cp -r /usr/local/share/ca-certificates "$machine/usr/local/share/"
  fi
  if [ -f ~/.m2/settings.xml ]; then
    mkdir -p "$machine/root/.m2"
    cp ~/.m2/settings.xml "$machine/root/.m2/"
  fi
  mkdir "$machine/lifeboat"
  git -C "$root" ls-files -z --cached --others --exclude-standard | tar -C "$root" --null -T - -c | tar -C "$machine/lifeboat" -x
}

# Files outside apt's care, the cache and what any program may write.
strays() {
  (cd "$machine" && find etc/init.d home lifeboat mnt opt root srv usr/local usr/sbin/policy-rc.d -newer root/before \
    -not -type d -not -path 'root/.cache/lifeboat/*' -print 2>/dev/null) || true
}

no_strays() {
  local found
  found=$(strays)
  [ -z "$found" ] || { echo "$found" && return 1; }
}

# The process namespace of a run ends with it, so what would go on is what a process list at its end shows.
no_service_enabled() {
  local found
  found=$(find "$machine"/etc/systemd/system -path '*.wants/*' -newer "$machine/root/before" \
    \( -name '*redis*' -o -name '*iperf*' -o -name '*criu*' \) 2>/dev/null || true)
  [ -z "$found" ] || { echo "$found" && return 1; }
}

second_run_keeps() {
  local start=$EPOCHREALTIME output
  output=$(inside bash /lifeboat/deploy/setup "$what")
  start=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
  echo "$output (in $start ms)"
  ! grep -v '^kept ' <<<"$output" && [ "$start" -lt 2000 ]
}

bare_machine
touch "$machine/root/before"
echo "machine $(sed -n 's/^PRETTY_NAME=//p' "$machine/etc/os-release"), $(find "$machine/var/lib/dpkg/info" -name '*.list' | wc -l) packages"

SECONDS=0
inside bash -c "bash /lifeboat/deploy/setup $what && echo && echo 'processes after the set-up:' && cat /proc/[0-9]*/comm" >"$machine/root/setup.log" 2>&1 || {
  cat "$machine/root/setup.log"
  echo "0 passed, 1 failed"
  exit 1
}
sed '/^$/,$d' "$machine/root/setup.log"
echo "set-up took $SECONDS s; cache $(du -sh "$machine/root/.cache/lifeboat" | cut -f1), machine $(du -sh --exclude=root "$machine" 2>/dev/null | cut -f1)"
mv "$machine/root/setup.log" "$machine/tmp/"

check 'a second run keeps all, within 2 s' second_run_keeps
check 'no file outside the cache' no_strays
check 'no service enabled' no_service_enabled
check 'no process left' bash -c "! sed '1,/^processes/d' '$machine/tmp/setup.log' | grep -vxE 'bash|cat|sh'"
check 'CRIU starts' in_project '"$LIFEBOAT_CRIU" --version'
check 'criu check' in_project '"$LIFEBOAT_CRIU" check'
check 'java on PATH is 25' in_project 'java -version 2>&1 | grep "version \"25"'
check 'Maven runs on JDK 25' in_project 'mvn -v | grep "Java version: 25"'
check 'static linking' in_project 'echo "int main(void) { return 0; }" >/tmp/a.c && gcc -static -o /tmp/a /tmp/a.c && /tmp/a'
check 'fusermount3, ip, unshare, python3' in_project 'command -v fusermount3 ip unshare python3'

cat >"$machine/tmp/Probe.java" <<'EOF'
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;

class Probe {
  public static void main(String[] arguments) throws Throwable {
    var linker = Linker.nativeLinker();
    var getpid =
        linker.downcallHandle(
            linker.defaultLookup().find("getpid").orElseThrow(), FunctionDescriptor.of(ValueLayout.JAVA_INT));
    if ((int) getpid.invokeExact() != ProcessHandle.current().pid()) throw new AssertionError("getpid");
    if (new ProcessBuilder("sh", "-c", "exit 7").start().waitFor() != 7) throw new AssertionError("sh");
  }
}
EOF
check 'javac, java, FFM, processes' in_project 'cd /tmp && javac Probe.java && java --enable-native-access=ALL-UNNAMED -cp . Probe'
check 'a linked image runs the same' in_project 'cd /tmp && jlink --add-modules java.base,jdk.jcmd --output image && image/bin/java --enable-native-access=ALL-UNNAMED -cp . Probe && image/bin/jcmd -l'
check 'dump and restore' in_project '
  mkdir /tmp/dump && (setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >/tmp/pid) && pid=$(cat /tmp/pid) && sleep 0.3 &&
  "$LIFEBOAT_CRIU" dump -t $pid -D /tmp/dump -o log && for i in $(seq 50); do [ -e /proc/$pid ] || break; sleep 0.1; done &&
  "$LIFEBOAT_CRIU" restore -d -D /tmp/dump -o restore.log && kill $pid || { tail -5 /tmp/dump/*log; false; }'
if [ "$what" = test ]; then
  check 'versitygw' in_project '"$LIFEBOAT_VERSITYGW" --version'
  check 'MinIO' in_project '"$LIFEBOAT_MINIO" --version'
  check 'S3Proxy' in_project 'java -cp "$LIFEBOAT_S3PROXY_HOME/lib/*" org.gaul.s3proxy.Main --version'
  check 'redis-server' in_project 'redis-server --version'
  check 'samtools, sqlite3, valgrind, iperf3, shellcheck' in_project 'samtools --version && sqlite3 --version && valgrind --version && iperf3 --version && shellcheck --version'
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
