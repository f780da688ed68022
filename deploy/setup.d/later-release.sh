# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# Programs of a later Debian release, in a folder of the cache with the libraries that they load, libc included.
# The dynamic linker is named in a program by its absolute path: such a folder can't be moved, and in a container it
# must be mounted at the same path.

# The address of the Debian archive among this machine's apt sources; apt itself knows every form of sources file.
debian_archive() {
  local url
  url=$(list_archives)
  if [ -z "$url" ]; then
    refresh_apt >&2
    url=$(list_archives)
  fi
  [ -n "$url" ] || die "no Debian archive among this machine's apt sources (Ubuntu and others are not supported)"
  printf '%s\n' "${url%%$'\n'*}"
}

# shellcheck disable=SC2016 # REPO_URI is for apt
list_archives() { apt-get indextargets 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' --format '$(REPO_URI)'; }

# unpack_closure RELEASE ROOT PACKAGE...: the packages with all that they depend on, unpacked into ROOT; the .deb
# files are in ROOT.apt/archives. apt's state is a folder of its own in which nothing is installed.
unpack_closure() {
  local release=$1 root=$2 apt=$2.apt archive options deb
  shift 2
  archive=$(debian_archive)
  mkdir -p "$root" "$apt"/{lists,archives}/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $release main" >"$apt/sources.list"
  options=(
    -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=-
    -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status=/dev/null
    -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives" -o APT::Sandbox::User=root
    -o APT::Install-Recommends=false -o APT::Keep-Downloaded-Packages=true -o Acquire::Languages=none
    -o Acquire::Retries=5 -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o APT::Update::Post-Invoke= -o DPkg::Post-Invoke= -o Debug::NoLocking=true
  )
  apt-get "${options[@]}" update >"$apt/log" 2>&1 || {
    cat "$apt/log" >&2
    die "cannot read Debian $release at the mirror in this machine's apt sources"
  }
  apt-get "${options[@]}" -y --download-only install "$@" >"$apt/log" 2>&1 </dev/null || {
    cat "$apt/log" >&2
    die "Debian $release does not have: $*"
  }
  for deb in "$apt"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
      --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale'
  done
}

# archive_version ROOT PACKAGE: the upstream version of a package of unpack_closure
archive_version() {
  local version
  version=$(dpkg-deb -f "$(find "$1.apt/archives" -name "$2_*.deb")" Version)
  version=${version#*:} version=${version%-*}
  printf '%s\n' "${version%%[+~]*}"
}

# libc_folder ROOT, linker_name ROOT: where the unpacked libc is, and the name of its dynamic linker
libc_folder() { dirname "$(find "$1" -name libc.so.6 | sed -n 1p)"; }
linker_name() { basename "$(find "$1" -name 'ld-linux*.so.*' | sort | sed -n 1p)"; }

# copy_libraries ROOT TARGET ELF...: the libraries of ROOT that the programs load, and the dynamic linker
copy_libraries() {
  local root=$1 target=$2 libc linker elf
  shift 2
  libc=$(libc_folder "$root") linker=$(linker_name "$root")
  mkdir -p "$target"
  for elf in "$@"; do
    "$libc/$linker" --library-path "$libc" --list "$elf" 2>/dev/null || true
  done | grep -oE "$libc/[^ ]+" | grep -v "/$linker\$" | sort -u | xargs -r cp -L -t "$target"
  cp -L "$libc/$linker" "$target"
}
