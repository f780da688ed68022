# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# CRIU, the program that dumps and restores process trees: $cache/criu/bin/criu.
#
# 4.2 is the least: Debian 12's 3.17.1 fails on recent kernels, Debian 13's 4.1.1 on any Internet socket, and all before
# 4.2 overflow a 32-bit length in the third dump of a chain.

criu_least=4.2
criu=$cache/criu/bin/criu

criu_version() { "$1" --version 2>/dev/null | sed -n 's/^Version: //p'; }

criu_is_made() { version_ge "$(criu_version "$criu")" "$criu_least"; }

want_criu() {
  if criu_is_made; then
    return
  elif release_has_criu; then
    want criu
  else
    want patchelf
  fi
}

release_has_criu() {
  refresh_apt
  version_ge "$(candidate criu)" "$criu_least"
}

make_criu() {
  if criu_is_made; then
    say kept "CRIU $(criu_version "$criu") in $(realpath "$cache/criu")"
  elif release_has_criu; then
    link_criu "$(PATH=$PATH:/usr/sbin command -v criu)"
  else
    unpack_criu
  fi
}

# The release's own CRIU, under the path that the unpacked one would have.
link_criu() {
  local version
  version=$(criu_version "$1")
  mkdir -p "$cache/criu-$version/bin"
  ln -sfn "$1" "$cache/criu-$version/bin/criu"
  use_criu "$version"
}

unpack_criu() {
  local release=${LIFEBOAT_SETUP_LATER_RELEASE:-forky} root=$scratch/criu out=$scratch/criu.out exe version prefix
  unpack_closure "$release" "$root" criu
  version=$(archive_version "$root" criu)
  version_ge "$version" "$criu_least" || die "Debian $release has CRIU $version, at least $criu_least is needed"
  prefix=$cache/criu-$version
  exe=$(find "$root" -path '*bin/criu' -type f)
  copy_libraries "$root" "$out/lib" "$exe"
  mkdir -p "$out/bin"
  cp "$exe" "$out/bin/criu"
  # shellcheck disable=SC2016 # $ORIGIN is for the dynamic linker
  patchelf --set-interpreter "$prefix/lib/$(linker_name "$root")" --set-rpath '$ORIGIN/../lib' --force-rpath "$out/bin/criu"
  rm -rf "$prefix"
  mv -T "$out" "$prefix"
  use_criu "$version"
}

use_criu() {
  local prefix=$cache/criu-$1
  [ "$(criu_version "$prefix/bin/criu")" = "$1" ] || die "the CRIU in $prefix does not start: try \`$prefix/bin/criu --version\`"
  ln -sfn "$(basename "$prefix")" "$cache/criu"
  say made "CRIU $1 in $prefix ($(du -sh "$prefix" | cut -f1))"
}
