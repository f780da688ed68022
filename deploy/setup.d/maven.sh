# Maven. Debian 12's 3.8.7 is enough. shellcheck shell=bash

maven_least=3.8

maven_version() { JAVA_HOME=${java_home:-} mvn -v 2>/dev/null | sed 's/\x1b\[[0-9;]*m//g' | sed -n 's/^Apache Maven \([0-9.]*\).*/\1/p'; }

want_maven() { have mvn || want maven; }

check_maven() {
  local version
  version=$(maven_version) || true
  version_ge "$version" "$maven_least" || die "\`mvn\` on PATH is ${version:-broken}, at least $maven_least is needed"
  say kept "Maven $version ($(command -v mvn))"
}
