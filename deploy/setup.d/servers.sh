# shellcheck shell=bash disable=SC2034,SC2154 # variables of the other parts

# The object stores and the database that the tests talk to; none of them is part of the product. They lie in the cache
# under names with their versions.

versitygw_version=v1.8.0
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
s3proxy_version=4.1.0

versitygw=$cache/bin/versitygw-$versitygw_version
minio=$cache/bin/minio-$minio_version
s3proxy=$cache/s3proxy-$s3proxy_version

make_versitygw() {
  if [ -x "$versitygw" ]; then
    say kept "$versitygw"
  else
    go_build github.com/versity/versitygw/cmd/versitygw "$versitygw_version" "$versitygw"
  fi
}

make_minio() {
  if [ -x "$minio" ]; then
    say kept "$minio"
  else
    go_build github.com/minio/minio "$minio_version" "$minio"
  fi
}

# lib/*.jar and a logback.xml; without the latter S3Proxy writes megabytes of debug messages.
make_s3proxy() {
  if [ -d "$s3proxy" ]; then
    say kept "$s3proxy"
    return
  fi
  local out=$scratch/s3proxy
  mkdir -p "$out"
  cat >"$out/pom.xml" <<EOF
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.lifeboat.setup</groupId>
  <artifactId>s3proxy</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencyManagement>
    <dependencies>
      <dependency> <!-- the version that S3Proxy asks for lacks classes that it uses -->
        <groupId>com.fasterxml.jackson.core</groupId>
        <artifactId>jackson-annotations</artifactId>
        <version>2.21</version>
      </dependency>
    </dependencies>
  </dependencyManagement>
  <dependencies>
    <dependency>
      <groupId>org.gaul</groupId>
      <artifactId>s3proxy</artifactId>
      <version>$s3proxy_version</version>
    </dependency>
  </dependencies>
</project>
EOF
  cat >"$out/logback.xml" <<'EOF'
<configuration>
  <appender name="STDERR" class="ch.qos.logback.core.ConsoleAppender">
    <target>System.err</target>
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="STDERR"/></root>
</configuration>
EOF
  JAVA_HOME=$java_home mvn -B -q -f "$out/pom.xml" -Dmaven.repo.local="$scratch/m2" \
    org.apache.maven.plugins:maven-dependency-plugin:3.11.0:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$out/lib" >"$scratch/s3proxy.log" 2>&1 </dev/null || {
    tail -30 "$scratch/s3proxy.log" >&2
    die "cannot bring S3Proxy $s3proxy_version"
  }
  mv -T "$out" "$s3proxy"
  say made "$s3proxy ($(du -sh "$s3proxy" | cut -f1))"
}

# Debian's redis-server package would start a service now and at each boot. All that it adds to redis-tools is this link:
# the server is the program redis-check-rdb, told by its name what to be.
make_redis() {
  if have redis-server; then
    say kept "redis-server ($(command -v redis-server))"
  elif [ -e "$cache/bin/redis-server" ]; then
    say kept "$cache/bin/redis-server"
  else
    ln -sfn "$(command -v redis-check-rdb)" "$cache/bin/redis-server"
    "$cache/bin/redis-server" --version >/dev/null || die 'redis-tools has no server in redis-check-rdb'
    say made "$cache/bin/redis-server"
  fi
}
