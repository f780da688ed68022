# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# Go, for the two servers of the tests that come as Go modules. It is only there while they are built: the machine's
# own where it is new enough, else a later Debian release's (statically linked, so nothing needs patching), unpacked
# into the scratch folder. Module and build caches, 3 GB, are there too.

go_least=1.26
go= # the program, known after make_go

# run_go PROGRAM ARGUMENT...: with the user's settings, but without counting its runs in the user's folder
run_go() {
  env -u GOROOT GOENV="${GOENV:-${XDG_CONFIG_HOME:-$user_home/.config}/go/env}" XDG_CONFIG_HOME="$scratch/go/config" \
    GOTOOLCHAIN=local GOPATH="$scratch/go" GOBIN="$scratch/go/bin" GOMODCACHE="$scratch/go/mod" \
    GOCACHE="$scratch/go/build" GOFLAGS='-buildvcs=false -modcacherw' CGO_ENABLED=0 nice -n 10 "$@"
}

go_version() { run_go "$1" version 2>/dev/null | sed -n 's/^go version go\([0-9.]*\).*/\1/p'; }

make_go() {
  local release=${LIFEBOAT_SETUP_LATER_RELEASE:-forky} version
  if [ -n "$go" ]; then
    return
  fi
  if ! skip_installed && have go && version_ge "$(go_version go)" "$go_least"; then
    go=$(command -v go)
  else
    unpack_closure "$release" "$scratch/golang" golang-go
    go=$(realpath "$scratch/golang/usr/bin/go")
    version=$(go_version "$go")
    version_ge "$version" "$go_least" || die "Debian $release has Go ${version:-that does not start}, at least $go_least is needed"
    say made "Go $version of Debian $release, for this run only"
  fi
}

# go_build MODULE VERSION TARGET: builds a program, with low priority
go_build() {
  local log=$scratch/go.log
  make_go
  say make "$(basename "$3"), some minutes"
  run_go "$go" install -ldflags='-s -w' "$1@$2" >"$log" 2>&1 </dev/null || {
    tail -30 "$log" >&2
    die "cannot build $1@$2"
  }
  mv "$scratch/go/bin/$(basename "$1")" "$3"
  say made "$3 ($(du -h "$3" | cut -f1))"
}
