# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# Maven. Debian 12's 3.8.7 is enough.

maven_least=3.8

# Asked for outside the project, whose .mvn/jvm.config only a JDK 25 understands.
maven_version() {
  (cd "$cache" && JAVA_HOME=$java_home mvn -v 2>/dev/null) | sed -n 's/.*Apache Maven \([0-9.]*\).*/\1/p'
}

want_maven() { have mvn || want maven; }

check_maven() {
  local version
  version=$(maven_version)
  version_ge "$version" "$maven_least" || die "\`mvn\` on PATH is ${version:-broken}, at least $maven_least is needed"
  say kept "Maven $version ($(command -v mvn))"
}
