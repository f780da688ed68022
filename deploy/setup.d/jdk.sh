# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# JDK 25, with javac and jlink: $java_home.
#
# Taken is, in this order, $JAVA_HOME, a JDK 25 in /usr/lib/jvm, the release's package, and, where the release has none
# (Debian 12), Debian 13's package unpacked into the cache. The last needs a newer libc than the machine's, so every
# program of it, jspawnhelper (which starts the processes) included, names the unpacked dynamic linker and libraries.
# jlink copies java and jspawnhelper not from bin and lib but from jmods/java.base.jmod: they are patched there too. Run-time
# images that are linked with such a JDK run on this machine only.

jdk_version=25
java_home= # known after make_jdk

jdk_package=openjdk-$jdk_version-jdk-headless

is_jdk() {
  [ -x "$1/bin/javac" ] && [ -x "$1/bin/jlink" ] && grep -qs "^JAVA_VERSION=\"$jdk_version\>" "$1/release"
}

jdk_release() { sed -n 's/^JAVA_VERSION="\(.*\)"/\1/p' "$1/release"; }

# Sets java_home to a JDK that is already there.
find_jdk() {
  local candidates=() home
  skip_installed || candidates=("${JAVA_HOME:-}" /usr/lib/jvm/*"$jdk_version"*)
  for home in "${candidates[@]}" "$cache/jdk"; do
    if [ -n "$home" ] && is_jdk "$home"; then
      java_home=$home
      return
    fi
  done
  return 1
}

release_has_jdk() {
  ! skip_installed || return 1
  refresh_apt
  [ -n "$(candidate "$jdk_package")" ]
}

want_jdk() {
  if find_jdk; then
    return
  elif release_has_jdk; then
    want "$jdk_package"
  else
    want patchelf ca-certificates-java # its certificates are the machine's, by a link into /etc/ssl/certs/java
  fi
}

make_jdk() {
  if [ -n "$java_home" ] || find_jdk; then
    say kept "JDK $(jdk_release "$java_home") in $java_home"
  else
    unpack_jdk
  fi
}

unpack_jdk() {
  local release=${LIFEBOAT_SETUP_JDK_RELEASE:-trixie} root=$scratch/jdk home linker version prefix elf
  unpack_closure "$release" "$root" "$jdk_package"
  home=$(find "$root/usr/lib/jvm" -maxdepth 1 -type d -name "java-$jdk_version-*")
  version=$(jdk_release "$home") prefix=$cache/jdk-$version linker=$(linker_name "$root")
  absolute_links_into "$root" "$home"
  rm -rf "$home/docs" "$home/man" "$home/lib/src.zip"

  local programs=() libraries=()
  for elf in "$home"/bin/* "$home"/lib/jspawnhelper "$home"/lib/jexec; do
    if patchelf --print-interpreter "$elf" >/dev/null 2>&1; then programs+=("$elf"); fi
  done
  mapfile -t libraries < <(find "$home/lib" -name '*.so')
  copy_libraries "$root" "$home/libc" "${programs[@]}" "${libraries[@]}"
  for elf in "${programs[@]}"; do
    patchelf --set-interpreter "$prefix/libc/$linker" --force-rpath \
      --set-rpath "\$ORIGIN:\$ORIGIN/../lib:$prefix/libc" "$elf"
  done
  python3 - "$home" <<'EOF'
import os, pathlib, sys, zipfile
home = pathlib.Path(sys.argv[1])
patched = ["bin/" + p.name for p in (home / "bin").iterdir()] + ["lib/jspawnhelper", "lib/jexec"]
for jmod in (home / "jmods").glob("*.jmod"):
    with open(jmod, "rb") as old:
        magic = old.read(4)  # a jmod is four bytes of its own and a zip file
        with zipfile.ZipFile(old) as source:
            if not any(name in patched for name in source.namelist()):
                continue
            with open(home / "new.jmod", "wb") as new:
                new.write(magic)
                with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
                    for entry in source.infolist():
                        inside = entry.filename not in patched
                        target.writestr(entry, source.read(entry) if inside else (home / entry.filename).read_bytes(), zipfile.ZIP_DEFLATED)
    os.replace(home / "new.jmod", jmod)
EOF
  rm -rf "$prefix"
  mv -T "$home" "$prefix"
  "$prefix/bin/java" -version >/dev/null 2>&1 || die "the JDK in $prefix does not start: try \`$prefix/bin/java -version\`"
  ln -sfn "$(basename "$prefix")" "$cache/jdk"
  java_home=$cache/jdk
  say made "JDK $version of Debian $release in $prefix ($(du -sh "$prefix" | cut -f1)); images that it links run on this machine only"
}

# absolute_links_into ROOT FOLDER: replaces links in FOLDER to files of ROOT by these files; the certificates stay a link
absolute_links_into() {
  local link target
  find "$2" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
    target=$(readlink "$link")
    if [ -e "$1$target" ]; then cp --remove-destination -rL "$1$target" "$link"; fi
  done
}
