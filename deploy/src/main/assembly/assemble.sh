#!/bin/bash
# Assembles the distribution: assemble.sh TARGET LIFEBOAT_INIT, run by Maven in deploy/. TARGET/class-path.txt
# lists the jars.
#
# Each part is made anew only when what it is made from has changed: jlink takes 4 s, the AOT cache 3 s, the rest nothing.
set -euo pipefail

target=$(realpath "$1") init=$(realpath "$2")
dist=$target/lifeboat stamps=$target/assembly
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jdk=$JAVA_HOME
arch=$(uname -m)

# What the class path needs by jdeps, and what it needs without naming it: TLS with all curves (jdk.crypto.ec has been a
# part of java.base since 22), DNS for instance metadata, the options of sockets, JFR to see into a running engine.
modules=java.base,java.logging,java.management,java.naming,java.net.http,java.xml,jdk.jfr,jdk.net,jdk.unsupported,jdk.zipfs

say() { printf 'lifeboat  %s\n' "$*"; }

die() {
  printf 'assemble.sh: %s\n' "$*" >&2
  exit 1
}

# changed NAME FILE STATE: whether FILE is missing, or STATE differs from when `made NAME` was last called
changed() {
  state=$3
  [ ! -e "$2" ] || [ "$(cat "$stamps/$1" 2>/dev/null)" != "$state" ]
}

made() { printf '%s\n' "$state" >"$stamps/$1"; }

# put MODE FROM TO: copies a file unless it is there already
put() {
  cmp -s "$2" "$3" && [ "$(stat -c %a "$3")" = "$1" ] || install -D -m "$1" "$2" "$3"
}

make_jre() {
  changed jre "$dist/jre/release" "$jdk $modules $(sha256sum <"$jdk/release")" || return 0
  rm -rf "$dist/jre"
  "$jdk/bin/jlink" --add-modules "$modules" --output "$dist/jre" --strip-debug --no-header-files --no-man-pages --compress zip-0
  made jre
  say "jre: $(du -sh "$dist/jre" | cut -f1)"
}

# The jars in the order of the class path, without the native libraries in them: those go to lib/native, where the
# libraries look first. Unpacked at run time they would take time, and /tmp belongs to the task.
make_lib() {
  local jars=()
  IFS=: read -r -a jars <"$target/class-path.txt" || [ ${#jars[@]} -gt 0 ]
  changed lib "$dist/lib/lifeboat.jar" "$(cat "${jars[@]}" "$target/lifeboat.jar" "$here/jars.py" | sha256sum) ${jars[*]##*/}" || return 0
  mkdir -p "$dist/lib/native"
  python3 "$here/jars.py" "$dist/lib" "$arch" "$target/lifeboat.jar" "${jars[@]}"
  made lib
  say "lib: $(du -sh "$dist/lib" | cut -f1)"
}

make_aot_cache() {
  local aot=$dist/lib/lifeboat.aot
  changed aot "$aot" "$(cat "$stamps/jre" "$stamps/lib" "$dist/lib/java.options" "${BASH_SOURCE[0]}" | sha256sum)" || return 0
  rm -f "$aot"
  (
    cd "$stamps"
    env -u JAVA_TOOL_OPTIONS -u JDK_JAVA_OPTIONS -u _JAVA_OPTIONS -u CLASSPATH LC_ALL=C.UTF-8 \
      "$dist/jre/bin/java" "@$dist/lib/java.options" "-Djava.library.path=$dist/lib/native" -XX:AOTCacheOutput="$aot" \
      -cp "$dist/lib/lifeboat.jar" org.lifeboat.deploy.Training
  ) >"$stamps/training.log" 2>&1 || {
    cat "$stamps/training.log" >&2
    die "the training run of the AOT cache failed"
  }
  [ -s "$aot" ] || die "the training run left no AOT cache: see $stamps/training.log"
  made aot
  say "lib/lifeboat.aot: $(du -sh "$aot" | cut -f1)"
}

# A link: CRIU from deploy/setup has its own path in it. Engines look here after LIFEBOAT_CRIU.
link_criu() {
  local criu=${LIFEBOAT_CRIU-} cache prefix
  cache=${LIFEBOAT_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/lifeboat}
  for prefix in "${criu%/bin/criu}" "$cache/criu"; do
    if [ -n "$prefix" ] && [ -x "$prefix/bin/criu" ]; then
      ln -sfn "$(realpath "$prefix")" "$dist/criu"
      return
    fi
  done
  rm -f "$dist/criu"
}

mkdir -p "$stamps" "$dist/bin" "$dist/lib" "$dist/libexec"

put 755 "$here/../dist/bin/lifeboat" "$dist/bin/lifeboat"
put 644 "$here/../dist/lib/java.options" "$dist/lib/java.options"
put 644 "$here/../dist/README.md" "$dist/README.md"
put 644 "$here/../../../../LICENSE" "$dist/LICENSE"
put 755 "$init" "$dist/libexec/lifeboat-init"
ln -sfn lifeboat "$dist/bin/fusion"
ln -sfn lifeboat-init "$dist/libexec/lifeboat-hook"
link_criu
make_jre
make_lib
make_aot_cache
