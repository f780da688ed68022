# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# $cache/env.sh: what the other scripts source.

write_environment() {
  local file=$scratch/env.sh path
  path=$java_home/bin:$cache/bin
  {
    echo '# Written by deploy/setup; to be sourced.'
    printf 'export JAVA_HOME=%q\n' "$java_home"
    printf 'export LIFEBOAT_CRIU=%q\n' "$criu"
    if [ -e "$versitygw" ]; then printf 'export LIFEBOAT_VERSITYGW=%q\n' "$versitygw"; fi
    if [ -e "$minio" ]; then printf 'export LIFEBOAT_MINIO=%q\n' "$minio"; fi
    if [ -e "$s3proxy" ]; then printf 'export LIFEBOAT_S3PROXY_HOME=%q\n' "$s3proxy"; fi
    printf 'lifeboat_path=%q\n' "$path"
    # shellcheck disable=SC2016 # expanded when env.sh is sourced
    echo 'case ":$PATH:" in *":$lifeboat_path:"*) ;; *) export PATH="$lifeboat_path:$PATH" ;; esac'
    echo 'unset lifeboat_path'
  } >"$file"
  if cmp -s "$file" "$cache/env.sh"; then
    say kept "$cache/env.sh"
  else
    mv "$file" "$cache/env.sh"
    say made "$cache/env.sh"
  fi
}
