want_jdk() { :; }
make_jdk() { java_home=/usr/lib/jvm/temurin-25-jdk-amd64; }
