package org.lifeboat.deploy;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;

/**
 * As much of an S3 server, on loopback and in memory, as the training run needs: the SDK's classes
 * are loaded, and its code is profiled, by requests that are answered. Preconditions are not heeded
 * and signatures not looked at; no test may use it.
 */
final class Bucket implements AutoCloseable {

  private static final String MODIFIED = "Sat, 21 Nov 2026 00:00:00 GMT";

  private final ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  private final Map<String, byte[]> objects = new ConcurrentSkipListMap<>();
  private final ConcurrentSkipListMap<String, byte[]> parts = new ConcurrentSkipListMap<>();
  private final Map<Socket, Boolean> open = new ConcurrentHashMap<>();

  Bucket() throws IOException {
    Thread.ofPlatform().daemon().name("training-bucket").start(this::accept);
  }

  /** What AWS_ENDPOINT_URL_S3 is to be. */
  String endpoint() {
    return "http://127.0.0.1:" + server.getLocalPort();
  }

  private void accept() {
    while (!server.isClosed()) {
      try {
        Socket socket = server.accept();
        open.put(socket, true);
        Thread.ofPlatform().daemon().start(() -> serve(socket));
      } catch (IOException e) {
        if (!server.isClosed()) {
          throw new IllegalStateException(e);
        }
      }
    }
  }

  private void serve(Socket socket) {
    try (socket) {
      InputStream in = new BufferedInputStream(socket.getInputStream(), 1 << 16);
      OutputStream out = socket.getOutputStream();
      for (String line = line(in); !line.isEmpty(); line = line(in)) {
        String[] request = line.split(" ", 3);
        Map<String, String> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
        for (String header = line(in); !header.isEmpty(); header = line(in)) {
          int colon = header.indexOf(':');
          headers.put(header.substring(0, colon), header.substring(colon + 1).strip());
        }
        if (headers.containsKey("Expect")) {
          out.write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(ISO_8859_1));
        }
        byte[] body = in.readNBytes(Integer.parseInt(headers.getOrDefault("Content-Length", "0")));
        out.write(answer(request[0], request[1], headers, body));
      }
    } catch (EOFException | SocketException e) {
      // the client has what it wanted
    } catch (IOException e) {
      throw new IllegalStateException(e);
    } finally {
      open.remove(socket);
    }
  }

  private static String line(InputStream in) throws IOException {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (int c = in.read(); c != '\n'; c = in.read()) {
      if (c < 0) {
        throw new EOFException();
      }
      if (c != '\r') {
        line.write(c);
      }
    }
    return line.toString(ISO_8859_1);
  }

  private byte[] answer(String method, String target, Map<String, String> headers, byte[] body)
      throws IOException {
    int mark = target.indexOf('?');
    String path = mark < 0 ? target : target.substring(0, mark);
    String query = mark < 0 ? "" : target.substring(mark + 1);
    switch (method) {
      case "POST" -> {
        if (query.contains("uploadId=")) {
          ByteArrayOutputStream whole = new ByteArrayOutputStream();
          Map<String, byte[]> sent = parts.subMap(path + "?", path + "@");
          for (byte[] part : sent.values()) {
            whole.write(part);
          }
          sent.clear();
          objects.put(path, whole.toByteArray());
          return xml(
              200,
              "<CompleteMultipartUploadResult><ETag>\"0\"</ETag></CompleteMultipartUploadResult>");
        }
        return xml(
            200,
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>");
      }
      case "PUT" -> {
        if (query.contains("partNumber=")) {
          String number = query.replaceFirst(".*partNumber=(\\d+).*", "$1");
          parts.put(path + String.format(Locale.ROOT, "?%05d", Integer.parseInt(number)), body);
        } else {
          objects.put(path, body);
        }
        return reply(200, "ETag: \"0\"\r\n", new byte[0]);
      }
      case "DELETE" -> {
        objects.remove(path);
        return reply(204, "", new byte[0]);
      }
      default -> {
        if (query.contains("list-type=2")) {
          return list(path);
        }
        if (query.startsWith("uploads")) {
          return xml(
              200,
              "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>");
        }
        byte[] object = objects.get(path);
        if (object == null) {
          return method.equals("HEAD")
              ? reply(404, "", new byte[0])
              : xml(404, "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>");
        }
        return object(method, headers.get("Range"), object);
      }
    }
  }

  private static byte[] object(String method, String range, byte[] object) {
    String about = "ETag: \"0\"\r\nLast-Modified: " + MODIFIED + "\r\n";
    if (method.equals("HEAD")) {
      String head = "HTTP/1.1 200 x\r\n" + about + "Content-Length: " + object.length + "\r\n\r\n";
      return head.getBytes(ISO_8859_1);
    }
    if (range == null) {
      return reply(200, about, object);
    }
    String[] ends = range.substring("bytes=".length()).split("-", 2);
    int from = Integer.parseInt(ends[0]);
    int to = Math.min(object.length, Integer.parseInt(ends[1]) + 1);
    byte[] body = java.util.Arrays.copyOfRange(object, from, to);
    String where = "Content-Range: bytes " + from + "-" + (to - 1) + "/" + object.length + "\r\n";
    return reply(206, about + where, body);
  }

  private byte[] list(String path) {
    StringBuilder found = new StringBuilder("<ListBucketResult><IsTruncated>false</IsTruncated>");
    objects.forEach(
        (key, body) ->
            found
                .append("<Contents><Key>")
                .append(key.substring(Math.min(key.length(), path.length() + 1)))
                .append("</Key><LastModified>2026-11-21T00:00:00.000Z</LastModified>")
                .append("<ETag>\"0\"</ETag><Size>")
                .append(body.length)
                .append("</Size></Contents>"));
    return xml(200, found.append("</ListBucketResult>").toString());
  }

  private static byte[] xml(int status, String body) {
    return reply(status, "Content-Type: application/xml\r\n", body.getBytes(UTF_8));
  }

  private static byte[] reply(int status, String headers, byte[] body) {
    byte[] head =
        ("HTTP/1.1 "
                + status
                + " x\r\n"
                + headers
                + (status == 204 ? "" : "Content-Length: " + body.length + "\r\n")
                + "\r\n")
            .getBytes(ISO_8859_1);
    byte[] all = java.util.Arrays.copyOf(head, head.length + body.length);
    System.arraycopy(body, 0, all, head.length, body.length);
    return all;
  }

  @Override
  public void close() throws IOException {
    server.close();
    for (Socket socket : open.keySet()) {
      socket.close();
    }
  }
}
