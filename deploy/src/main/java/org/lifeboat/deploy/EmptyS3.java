package org.lifeboat.deploy;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Locale;

/** An S3 server on a port of loopback that holds nothing, takes everything and forgets it. */
final class EmptyS3 implements AutoCloseable {

  private static final String NOT_FOUND =
      "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>";

  private final ServerSocket listener;

  EmptyS3() throws IOException {
    listener = new ServerSocket(0, 16, InetAddress.getLoopbackAddress());
    Thread.ofPlatform().daemon().name("s3").start(this::accept);
  }

  String endpoint() {
    return "http://" + listener.getInetAddress().getHostAddress() + ":" + listener.getLocalPort();
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }

  private void accept() {
    try {
      while (true) {
        Socket connection = listener.accept();
        Thread.ofPlatform().daemon().start(() -> serve(connection));
      }
    } catch (IOException e) {
      if (!listener.isClosed()) {
        throw new IllegalStateException(e);
      }
    }
  }

  private void serve(Socket connection) {
    try (connection) {
      InputStream in = new BufferedInputStream(connection.getInputStream());
      OutputStream out = connection.getOutputStream();
      for (String request = line(in); !request.isEmpty(); request = line(in)) {
        long length = 0;
        for (String header = line(in); !header.isEmpty(); header = line(in)) {
          String lower = header.toLowerCase(Locale.ROOT);
          if (lower.startsWith("content-length:")) {
            length = Long.parseLong(header.substring(15).strip());
          } else if (lower.startsWith("expect:")) {
            out.write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(US_ASCII));
          }
        }
        in.skipNBytes(length);
        out.write(answer(request).getBytes(US_ASCII));
        out.flush();
      }
    } catch (IOException e) {
      if (!connection.isClosed()) {
        throw new IllegalStateException(e);
      }
    }
  }

  private static String answer(String request) {
    boolean headOfKey = request.matches("HEAD /[^/ ]+/[^ ].*");
    boolean list = request.contains("list-type=2");
    String body;
    if (list) {
      body =
          "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
    } else if (request.startsWith("POST ") && request.contains("uploads")) {
      body =
          "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
    } else if (request.startsWith("POST ")) {
      body = "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>";
    } else {
      body = request.startsWith("GET ") ? NOT_FOUND : "";
    }
    boolean missing = headOfKey || body.equals(NOT_FOUND);
    return "HTTP/1.1 "
        + (missing ? "404 Not Found" : "200 OK")
        + "\r\nETag: \"1\"\r\nContent-Type: application/xml\r\nContent-Length: "
        + body.length()
        + "\r\n\r\n"
        + body;
  }

  /** A line without its end; empty at the end of the stream too. */
  private static String line(InputStream in) throws IOException {
    StringBuilder line = new StringBuilder();
    for (int c = in.read(); c >= 0 && c != '\n'; c = in.read()) {
      if (c != '\r') {
        line.append((char) c);
      }
    }
    return line.toString();
  }
}
