# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# Go, for the two servers of the tests that come as Go modules. It is only there while they are built: the machine's
# own where it is new enough, else a later Debian release's (statically linked, so nothing needs patching), unpacked
# into the scratch folder. Module and build caches, 3 GB, are there too.

go_least=1.26
go= # the program, known after make_go

go_version() { GOTOOLCHAIN=local "$1" version 2>/dev/null | sed -n 's/^go version go\([0-9.]*\).*/\1/p'; }

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
  local bin=$scratch/go/bin log=$scratch/go.log
  make_go
  say make "$(basename "$3"), some minutes"
  env -u GOROOT GOTOOLCHAIN=local GOPATH="$scratch/go" GOBIN="$bin" GOMODCACHE="$scratch/go/mod" \
    GOCACHE="$scratch/go/build" GOFLAGS='-buildvcs=false -modcacherw' CGO_ENABLED=0 \
    nice -n 10 "$go" install -ldflags='-s -w' "$1@$2" >"$log" 2>&1 </dev/null || {
    tail -30 "$log" >&2
    die "cannot build $1@$2"
  }
  mv "$bin/$(basename "$1")" "$3"
  say made "$3 ($(du -h "$3" | cut -f1))"
}
