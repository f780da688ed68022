versitygw=$cache/bin/versitygw-v1.8.0
minio=$cache/bin/minio-v0.0.0-20260212201848-7aac2a2c5b7c
s3proxy=$cache/s3proxy-4.1.0
