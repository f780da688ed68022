package org.lifeboat.store;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.function.Executable;
import org.lifeboat.store.MultipartUpload.Part;
import org.lifeboat.store.ObjectStore.Directory;
import org.lifeboat.store.ObjectStore.DirectoryEntry;
import org.lifeboat.store.ObjectStore.DirectoryPage;
import org.lifeboat.store.ObjectStore.ListPage;
import org.lifeboat.store.ObjectStore.ObjectInfo;
import org.lifeboat.store.ObjectStore.PendingUpload;
import org.lifeboat.store.StoreException.Kind;

/**
 * Every promise of {@link ObjectStore}. A backend's test extends this once per server.
 *
 * <p>What a server is known not to do is declared by {@link #lacks()}. A lack does not skip a test:
 * where the failure is certain the test asserts that it still fails, so that the list is corrected
 * when the server learns it; where it is a matter of luck the weaker promise is asserted.
 */
public abstract class ObjectStoreContract {

  protected static final int MIB = 1 << 20;

  /** What a server may lack. */
  public enum Lack {
    /** Of concurrent writes with Matches on one version, several may win. By luck. */
    ONE_WINNER_OF_MATCHES,
    /** Pending uploads are found by their exact key only. */
    UPLOADS_BY_PREFIX,
    /** An upload that is not there, or is another key's, is listed as one without parts. */
    UNKNOWN_UPLOAD_IS_REFUSED,
    /** Keys with characters above U+FFFF come before some that they should come behind. */
    ORDER_BY_UTF_8,
  }

  private final List<ObjectStore> opened = Collections.synchronizedList(new ArrayList<>());
  private String folder = "";
  private TestData data = null;
  private ObjectStore store = null;

  /** Opens the store of a name, which is made when there is none; each call is a new client. */
  protected abstract ObjectStore open(String name) throws Exception;

  /** What this server lacks. */
  protected Set<Lack> lacks() {
    return EnumSet.noneOf(Lack.class);
  }

  /** Writes many small objects; {@code x} is in each. */
  protected void fill(ObjectStore target, List<String> keys) throws Exception {
    try (ExecutorService threads = Executors.newFixedThreadPool(16)) {
      List<Future<ObjectInfo>> puts = new ArrayList<>();
      for (String key : keys) {
        puts.add(threads.submit(() -> target.put(key, text("x"), Precondition.NONE)));
      }
      for (Future<ObjectInfo> put : puts) {
        put.get();
      }
    }
  }

  /** How many entries a large directory has; a multiple of four. */
  protected int many() {
    return 10_000;
  }

  /** Rounds of each race. */
  protected int rounds() {
    return 10;
  }

  @BeforeEach
  final void openStore(TestInfo test) throws Exception {
    String method = test.getTestMethod().orElseThrow().getName();
    folder = method.replace('_', '-') + "-" + Long.toString(System.nanoTime(), 36);
    data = new TestData(getClass().getSimpleName() + "." + method);
    store = client();
  }

  @AfterEach
  final void closeStores() {
    opened.forEach(ObjectStore::close);
    opened.clear();
  }

  private ObjectStore client() throws Exception {
    ObjectStore client = open(folder);
    opened.add(client);
    return client;
  }

  private void unlessLacking(Lack lack, Executable promise) throws Throwable {
    if (lacks().contains(lack)) {
      assertThrows(
          Throwable.class, promise, "the server can do it now: take " + lack + " off lacks()");
    } else {
      promise.execute();
    }
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(UTF_8));
  }

  private ByteBuffer whole(String key) throws StoreException {
    int size = (int) store.head(key).orElseThrow().size();
    ByteBuffer into = ByteBuffer.allocateDirect(size);
    ObjectInfo info = store.get(key, 0, into);
    assertEquals(size, info.size());
    return into.flip();
  }

  private void assertKind(Kind kind, Executable call) {
    assertEquals(kind, assertThrows(StoreException.class, call).kind());
  }

  // ---------------------------------------------------------------- head, get

  @Test
  void what_is_not_there_is_not_found() throws Exception {
    assertEquals(Optional.empty(), store.head("a"));
    assertEquals(Optional.empty(), store.head("a/b/c"));
    assertKind(Kind.NOT_FOUND, () -> store.get("a", 0, ByteBuffer.allocate(1)));
    assertKind(Kind.NOT_FOUND, () -> store.get("a", 7, ByteBuffer.allocate(1)));
    assertKind(Kind.NOT_FOUND, () -> store.get("a", 0, ByteBuffer.allocate(0)));
    assertEquals(new ListPage(List.of(), false), store.list("", ""));
    assertEquals(new DirectoryPage(List.of(), false), store.listDirectory("", ""));
    assertEquals(List.of(), store.uploads(""));
    store.delete("a");
    assertKind(Kind.NOT_FOUND, () -> store.copy("a", "b"));
    store.put("folder/a", text("x"), Precondition.NONE);
    assertEquals(Optional.empty(), store.head("folder"));
    assertKind(Kind.NOT_FOUND, () -> store.get("folder", 0, ByteBuffer.allocate(1)));
    store.delete("folder");
    assertTrue(store.head("folder/a").isPresent());
    assertEquals(Optional.empty(), store.head("folder/a/b"));
  }

  @Test
  void a_failure_names_operation_and_object() {
    StoreException e =
        assertThrows(StoreException.class, () -> store.get("a/b", 0, ByteBuffer.allocate(1)));
    assertEquals("get", e.operation());
    assertEquals(store.url() + "/a/b", e.object());
    assertTrue(e.getMessage().startsWith("get " + store.url() + "/a/b: "), e.getMessage());
    assertFalse(e.retryable());
  }

  @Test
  void ranges_and_their_edges() throws Exception {
    ByteBuffer body = data.bytes(10_000);
    ObjectInfo put = store.put("a", body, Precondition.NONE);
    assertEquals(0, body.position());
    for (int[] range :
        new int[][] {
          {0, 10_000},
          {0, 20_000},
          {0, 1},
          {9_999, 1},
          {9_999, 100},
          {10_000, 5},
          {10_000, 0},
          {0, 0},
          {5_000, 0},
          {1, 9_999},
          {1, 9_998},
          {4_096, 4_096}
        }) {
      for (boolean direct : new boolean[] {true, false}) {
        int room = range[1] + 13;
        ByteBuffer into = direct ? ByteBuffer.allocateDirect(room) : ByteBuffer.allocate(room);
        into.position(7).limit(7 + range[1]);
        ObjectInfo info = store.get("a", range[0], into);
        int length = Math.min(range[1], 10_000 - range[0]);
        assertEquals(7 + length, into.position());
        assertEquals(7 + range[1], into.limit());
        assertEquals(put.version(), info.version());
        assertEquals(10_000, info.size());
        assertEquals("a", info.key());
        assertEquals(body.slice(range[0], length), into.slice(7, length));
        for (int i = 0; i < 7; i++) {
          assertEquals(0, into.get(i), "written in front of the position");
        }
        into.limit(room);
        for (int i = 7 + length; i < room; i++) {
          assertEquals(0, into.get(i), "written behind the end");
        }
      }
    }
    assertKind(Kind.INVALID, () -> store.get("a", 10_001, ByteBuffer.allocate(1)));
    assertKind(Kind.INVALID, () -> store.get("a", 10_001, ByteBuffer.allocate(0)));
    assertKind(Kind.INVALID, () -> store.get("a", 1L << 40, ByteBuffer.allocate(9)));
    assertThrows(IllegalArgumentException.class, () -> store.get("a", -1, ByteBuffer.allocate(1)));
    assertThrows(
        IllegalArgumentException.class,
        () -> store.get("a", 0, ByteBuffer.allocate(1).asReadOnlyBuffer()));
  }

  @Test
  void an_empty_object_is_an_object() throws Exception {
    ObjectInfo put = store.put("empty", ByteBuffer.allocate(0), Precondition.ABSENT);
    assertEquals(0, put.size());
    assertEquals(put.version(), store.head("empty").orElseThrow().version());
    ByteBuffer into = ByteBuffer.allocate(10);
    assertEquals(put.version(), store.get("empty", 0, into).version());
    assertEquals(0, into.position());
    assertKind(Kind.INVALID, () -> store.get("empty", 1, ByteBuffer.allocate(1)));
    assertEquals(1, store.list("", "").objects().size());
    assertKind(
        Kind.PRECONDITION_FAILED,
        () -> store.put("empty", ByteBuffer.allocate(0), Precondition.ABSENT));
  }

  // ---------------------------------------------------------------- put

  @Test
  void bytes_come_back_exactly() throws Exception {
    for (int size : new int[] {1, 2, 4095, 4096, 4097, 65_536, 1_000_003, 9 * MIB + 1}) {
      ByteBuffer body = data.bytes(size);
      ObjectInfo put = store.put("exact", body, Precondition.NONE);
      assertEquals(size, put.size());
      assertEquals(body, whole("exact"));
      ObjectInfo head = store.head("exact").orElseThrow();
      assertEquals(put.version(), head.version());
      assertTrue(Math.abs(head.lastModifiedMillis() - put.lastModifiedMillis()) < 600_000);
    }
    ByteBuffer heap = ByteBuffer.allocate(3 * MIB);
    data.random().nextBytes(heap.array());
    ByteBuffer middle = heap.position(17).limit(2 * MIB + 5);
    store.put("heap", middle.asReadOnlyBuffer(), Precondition.NONE);
    assertEquals(middle, whole("heap"));
    assertEquals(17, middle.position());
  }

  @Test
  void put_replaces_and_other_clients_see_it() throws Exception {
    String first = store.put("a/b", text("one"), Precondition.NONE).version();
    ObjectStore other = client();
    assertEquals(first, other.head("a/b").orElseThrow().version());
    String second = other.put("a/b", text("two!"), Precondition.NONE).version();
    assertNotEquals(first, second);
    assertEquals(text("two!"), whole("a/b"));
    assertEquals("two!", Blob.read(store, "a/b", 10).orElseThrow().text());
  }

  @Test
  void absent_writes_once() throws Exception {
    store.put("once", text("one"), Precondition.ABSENT);
    assertKind(Kind.PRECONDITION_FAILED, () -> store.put("once", text("two"), Precondition.ABSENT));
    assertEquals(text("one"), whole("once"));
    store.delete("once");
    store.put("once", text("three"), Precondition.ABSENT);
    assertEquals(text("three"), whole("once"));
  }

  @Test
  void matches_writes_only_over_its_version() throws Exception {
    assertKind(
        Kind.PRECONDITION_FAILED,
        () -> store.put("m", text("x"), Precondition.matches("\"0123456789abcdef\"")));
    String one = store.put("m", text("one"), Precondition.ABSENT).version();
    String two = store.put("m", text("two"), Precondition.matches(one)).version();
    assertNotEquals(one, two);
    assertKind(
        Kind.PRECONDITION_FAILED, () -> store.put("m", text("three"), Precondition.matches(one)));
    assertEquals(text("two"), whole("m"));
    assertEquals(two, store.head("m").orElseThrow().version());
    assertEquals(two, store.list("m", "").objects().getFirst().version());
    store.put("m", text("four"), Precondition.matches(two));
    store.delete("m");
    assertKind(
        Kind.PRECONDITION_FAILED, () -> store.put("m", text("five"), Precondition.matches(two)));
    assertEquals(Optional.empty(), store.head("m"));
  }

  @Test
  void of_sixteen_absent_writers_one_wins() throws Exception {
    for (int round = 0; round < rounds(); round++) {
      String key = "race/" + round;
      assertEquals(1, race(16, key, Precondition.ABSENT, 1));
    }
  }

  @Test
  void of_sixteen_matching_writers_one_wins() throws Exception {
    String version = store.put("race", text("start"), Precondition.ABSENT).version();
    for (int round = 0; round < rounds(); round++) {
      int most = lacks().contains(Lack.ONE_WINNER_OF_MATCHES) ? 16 : 1;
      int winners = race(16, "race", Precondition.matches(version), most);
      assertTrue(winners >= 1, "nobody won in round " + round);
      version = store.head("race").orElseThrow().version();
    }
  }

  /** Lets writers race; checks that the object is one of the winners', and counts them. */
  private int race(int writers, String key, Precondition precondition, int most) throws Exception {
    CyclicBarrier start = new CyclicBarrier(writers);
    int salt = data.random().nextInt();
    List<Callable<Optional<String>>> tasks = new ArrayList<>();
    for (int i = 0; i < writers; i++) {
      String mine = "writer " + i + " of " + salt;
      ObjectStore client = i % 2 == 0 ? store : opened.size() > 1 ? opened.get(1) : client();
      tasks.add(
          () -> {
            start.await();
            for (int attempt = 0; ; attempt++) {
              try {
                client.put(key, text(mine), precondition);
                return Optional.of(mine);
              } catch (StoreException e) {
                if (e.kind() == Kind.PRECONDITION_FAILED) {
                  return Optional.empty();
                }
                if (e.kind() != Kind.CONFLICT || attempt == 20) {
                  throw e;
                }
              }
            }
          });
    }
    List<String> winners = new ArrayList<>();
    try (ExecutorService threads = Executors.newFixedThreadPool(writers)) {
      for (Future<Optional<String>> result : threads.invokeAll(tasks)) {
        result.get().ifPresent(winners::add);
      }
    }
    assertTrue(winners.size() <= most, winners.size() + " winners: " + winners);
    String there = Blob.read(store, key, 1000).orElseThrow().text();
    assertTrue(winners.contains(there), there + " is there, the winners are " + winners);
    return winners.size();
  }

  // ---------------------------------------------------------------- keys

  @Test
  void malformed_keys_are_refused() {
    for (String key :
        new String[] {"", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "../a", "a/.."}) {
      assertThrows(IllegalArgumentException.class, () -> store.head(key), key);
      assertThrows(
          IllegalArgumentException.class, () -> store.get(key, 0, ByteBuffer.allocate(1)), key);
      assertThrows(
          IllegalArgumentException.class, () -> store.put(key, text("x"), Precondition.NONE), key);
      assertThrows(IllegalArgumentException.class, () -> store.delete(key), key);
      assertThrows(IllegalArgumentException.class, () -> store.copy("a", key), key);
      assertThrows(IllegalArgumentException.class, () -> store.upload(key), key);
      assertThrows(IllegalArgumentException.class, () -> store.resume(key, "x"), key);
    }
    assertThrows(IllegalArgumentException.class, () -> store.head("a\0b"));
    assertThrows(IllegalArgumentException.class, () -> store.head("a/".repeat(600) + "b"));
  }

  @Test
  void odd_keys_are_keys() throws Exception {
    List<String> keys =
        List.of(
            ".fusion/dump/1/manifest.json",
            ".hidden",
            "..a/b",
            "a b/c  d",
            "a+b=c&d?e#f%20g%2Fh",
            "quote\"s'`",
            "back\\slash",
            "star*[x]{y}",
            "semi;colon:comma,at@dollar$!()",
            "tilde~^|<>",
            "\u00e4\u00f6\u00fc/\u65e5\u672c",
            "emoji-\ud83d\ude00",
            "x".repeat(200) + "/" + "y".repeat(200));
    for (String key : keys) {
      store.put(key, text(key), Precondition.ABSENT);
    }
    for (String key : keys) {
      assertEquals(text(key), whole(key), key);
      assertEquals(key, store.list(key, "").objects().getFirst().key());
      assertKind(Kind.PRECONDITION_FAILED, () -> store.put(key, text("x"), Precondition.ABSENT));
    }
    assertEquals(keys.stream().sorted(Keys::compare).toList(), keys("", ""));
    assertEquals(keys.stream().sorted(Keys::compare).toList(), below(""));
    store.copy(keys.get(4), "copy of/" + keys.get(4));
    assertEquals(text(keys.get(4)), whole("copy of/" + keys.get(4)));
    MultipartUpload upload = store.upload("m/" + keys.get(4));
    upload.part(1, text("part"));
    upload.complete(Precondition.ABSENT);
    assertEquals(text("part"), whole("m/" + keys.get(4)));
    for (String key : keys) {
      store.delete(key);
      assertEquals(Optional.empty(), store.head(key));
    }
  }

  // ---------------------------------------------------------------- list, delete, copy

  private List<String> keys(String prefix, String after) throws StoreException {
    List<String> keys = new ArrayList<>();
    String last = after;
    while (true) {
      ListPage page = store.list(prefix, last);
      page.objects().forEach(object -> keys.add(object.key()));
      if (!page.more()) {
        return keys;
      }
      last = page.objects().getLast().key();
    }
  }

  @Test
  void listing_is_in_byte_order_and_by_prefix() throws Exception {
    List<String> keys =
        List.of("a!b", "a.b", "a/b", "a/b.c", "a/c/d", "a0", "ab", "b/a/a", "b/a-a", "B", "c");
    for (String key : keys) {
      store.put(key, text(key), Precondition.NONE);
    }
    assertEquals(keys.stream().sorted(Keys::compare).toList(), keys("", ""));
    assertEquals(List.of("a!b", "a.b", "a/b", "a/b.c", "a/c/d", "a0", "ab"), keys("a", ""));
    assertEquals(List.of("a/b", "a/b.c", "a/c/d"), keys("a/", ""));
    assertEquals(List.of("a/b", "a/b.c"), keys("a/b", ""));
    assertEquals(List.of("a/c/d"), keys("a/c/", ""));
    assertEquals(List.of("a/c/d"), keys("a/c", ""));
    assertEquals(List.of("b/a-a", "b/a/a"), keys("b/a", ""));
    assertEquals(List.of(), keys("a/x", ""));
    assertEquals(List.of(), keys("a/b/", ""));
    assertEquals(List.of(), keys("x/y/z", ""));
    assertEquals(List.of("a/b.c", "a/c/d", "a0", "ab"), keys("a", "a/b"));
    assertEquals(List.of("a/c/d", "a0", "ab"), keys("a", "a/b.cc"));
    assertEquals(List.of("b/a/a"), keys("b/", "b/a-a"));
    assertEquals(List.of("b/a-a", "b/a/a", "c"), keys("", "ab"));
    assertEquals(List.of(), keys("", "c"));
    assertEquals(List.of(), keys("a", "b"));
    ObjectInfo listed = store.list("a/c", "").objects().getFirst();
    ObjectInfo head = store.head("a/c/d").orElseThrow();
    assertEquals(head.size(), listed.size());
    assertEquals(head.version(), listed.version());
    assertTrue(Math.abs(head.lastModifiedMillis() - listed.lastModifiedMillis()) < 1000);
  }

  @Test
  void listing_goes_by_pages() throws Exception {
    int count = 1_100;
    List<String> all = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      all.add(String.format("p/%d/%04d", i % 3, i));
    }
    fill(store, all);
    Collections.sort(all);
    ListPage first = store.list("p/", "");
    assertTrue(first.more());
    assertEquals(all, keys("p/", ""));
    assertEquals(all.subList(551, count), keys("", all.get(550)));
    assertFalse(store.list("p/", all.get(count - 2)).more());
  }

  /** All that is in a directory, page by page. */
  private List<DirectoryEntry> entries(String directory, String after) throws StoreException {
    List<DirectoryEntry> entries = new ArrayList<>();
    String last = after;
    while (true) {
      DirectoryPage page = store.listDirectory(directory, last);
      entries.addAll(page.entries());
      if (!page.more()) {
        return entries;
      }
      last = page.entries().getLast().key();
    }
  }

  private List<String> names(String directory, String after) throws StoreException {
    return entries(directory, after).stream().map(DirectoryEntry::key).toList();
  }

  /** All objects below a directory, by going into each one in it. */
  private List<String> below(String directory) throws StoreException {
    List<String> keys = new ArrayList<>();
    for (DirectoryEntry entry : entries(directory, "")) {
      switch (entry) {
        case ObjectInfo object -> keys.add(object.key());
        case Directory(String key) -> keys.addAll(below(key));
      }
    }
    return keys;
  }

  @Test
  void a_directory_is_listed_one_level_deep() throws Exception {
    List<String> keys =
        List.of(
            "a!b",
            "a-b",
            "a.b",
            "a/b",
            "a/b.c",
            "a/c/d",
            "a/c/e/f",
            "a0",
            "ab",
            "b/a/a",
            "b/a-a",
            "top",
            "\u00e4/x");
    fill(store, keys);
    List<String> top = List.of("a!b", "a-b", "a.b", "a/", "a0", "ab", "b/", "top", "\u00e4/");
    assertEquals(top, names("", ""));
    assertEquals(List.of("a/b", "a/b.c", "a/c/"), names("a/", ""));
    assertEquals(List.of("a/c/d", "a/c/e/"), names("a/c/", ""));
    assertEquals(List.of("b/a-a", "b/a/"), names("b/", ""));
    for (String nothing : new String[] {"x/", "a/x/", "a/b/", "a/b/c/", "a0/", "x/y/z/"}) {
      assertEquals(new DirectoryPage(List.of(), false), store.listDirectory(nothing, ""), nothing);
    }
    assertEquals(keys.stream().sorted(Keys::compare).toList(), below(""));

    for (int i = 0; i < top.size(); i++) {
      assertEquals(top.subList(i + 1, top.size()), names("", top.get(i)), top.get(i));
    }
    assertEquals(top.subList(4, top.size()), names("", "a/b"), "it is in a/, which is before it");
    assertEquals(top.subList(4, top.size()), names("", "a/zzz"));
    assertEquals(top.subList(3, top.size()), names("", "a.c"));
    assertEquals(top, names("", "a"));
    assertEquals(List.of(), names("", "\udbff\udffd"));
    assertEquals(List.of("a/c/"), names("a/", "a/b.c"));
    assertEquals(List.of("a/c/"), names("a/", "a/c"));
    assertEquals(List.of("a/b", "a/b.c", "a/c/"), names("a/", "a/"));
    assertEquals(List.of("a/b", "a/b.c", "a/c/"), names("a/", "a"));
    assertEquals(List.of("a/b", "a/b.c", "a/c/"), names("a/", "a.x"));
    assertEquals(List.of(), names("a/", "a0"));
    assertEquals(List.of(), names("a/", "b"));

    assertEquals(new Directory("a/"), entries("", "a.b").getFirst());
    ObjectInfo listed = (ObjectInfo) entries("a/", "a/b").getFirst();
    ObjectInfo head = store.head("a/b.c").orElseThrow();
    assertEquals(head.size(), listed.size());
    assertEquals(head.version(), listed.version());
    assertTrue(Math.abs(head.lastModifiedMillis() - listed.lastModifiedMillis()) < 1000);

    for (String malformed : new String[] {"a", "/", "a//", "/a/", "a/../", "./", "a\0/"}) {
      assertThrows(
          IllegalArgumentException.class, () -> store.listDirectory(malformed, ""), malformed);
    }
  }

  @Test
  void a_directory_is_in_the_order_of_bytes_and_not_of_chars() throws Throwable {
    fill(store, List.of("w/\ud83d\ude00/x", "w/\uff5e"));
    assertEquals(List.of("w/\uff5e", "w/\ud83d\ude00/"), names("w/", ""));
    assertEquals(List.of("w/\ud83d\ude00/x"), names("w/\ud83d\ude00/", ""));
    assertEquals(List.of(), names("w/", "w/\ud83d\ude00/"));
    unlessLacking(
        Lack.ORDER_BY_UTF_8,
        () -> assertEquals(List.of("w/\ud83d\ude00/"), names("w/", "w/\uff5e")));
  }

  @Test
  void a_directory_goes_with_its_last_object() throws Exception {
    store.put("d/e/f", text("x"), Precondition.NONE);
    store.put("d/g", text("y"), Precondition.NONE);
    assertEquals(List.of("d/"), names("", ""));
    store.delete("d/e/f");
    assertEquals(List.of("d/g"), names("d/", ""));
    store.delete("d/g");
    assertEquals(List.of(), names("", ""));
    assertEquals(List.of(), names("d/", ""));
    MultipartUpload upload = store.upload("u/v");
    upload.part(1, text("part"));
    assertEquals(List.of(), names("", ""), "nothing is visible yet");
    upload.complete(Precondition.ABSENT);
    assertEquals(List.of("u/"), names("", ""));
  }

  @Test
  void a_large_directory_goes_by_pages() throws Exception {
    List<String> keys = new ArrayList<>();
    List<String> expected = new ArrayList<>();
    int count = many();
    for (int i = 0; i < count / 4; i++) {
      for (String end : new String[] {"-x", ".x", "/x", "0"}) {
        String key = String.format("many/%04d%s", i, end);
        keys.add(key);
        expected.add(end.equals("/x") ? key.substring(0, key.length() - 1) : key);
      }
    }
    Collections.shuffle(keys, data.random());
    fill(store, keys);
    int pages = 0;
    List<String> found = new ArrayList<>();
    DirectoryPage page;
    do {
      page = store.listDirectory("many/", found.isEmpty() ? "" : found.getLast());
      page.entries().forEach(entry -> found.add(entry.key()));
      pages++;
    } while (page.more());
    assertEquals(expected, found);
    assertTrue(pages > 1, "it was one page");
    for (int after : new int[] {count - 1_237, count - 1_236, count - 1_235, count - 1_234}) {
      List<String> rest = expected.subList(after + 1, count);
      assertEquals(rest, names("many/", expected.get(after)));
    }
    assertEquals(List.of("many/"), names("", ""));
    assertFalse(store.listDirectory("many/", expected.get(count - 2)).more());
  }

  @Test
  void delete_removes_and_is_idempotent() throws Exception {
    store.put("d/e/f", text("x"), Precondition.NONE);
    store.put("d/g", text("y"), Precondition.NONE);
    store.delete("d/e/f");
    store.delete("d/e/f");
    assertEquals(Optional.empty(), store.head("d/e/f"));
    assertEquals(List.of("d/g"), keys("", ""));
    store.delete("d/g");
    assertEquals(List.of(), keys("", ""));
    store.put("d", text("now a plain object"), Precondition.ABSENT);
    assertEquals(List.of("d"), keys("", ""));
  }

  @Test
  void copy_copies() throws Exception {
    ByteBuffer body = data.bytes(3 * MIB + 1);
    store.put("from", body, Precondition.NONE);
    store.put("to/there", text("old"), Precondition.NONE);
    ObjectInfo copied = store.copy("from", "to/there");
    assertEquals("to/there", copied.key());
    assertEquals(body.remaining(), copied.size());
    assertEquals(copied.version(), store.head("to/there").orElseThrow().version());
    assertEquals(body, whole("to/there"));
    store.delete("from");
    assertEquals(body, whole("to/there"));
  }

  @Test
  void copy_obeys_its_precondition() throws Exception {
    for (int size : new int[] {0, 1, 6 * MIB}) {
      String from = "from-" + size;
      String to = "to/" + size;
      ByteBuffer body = data.bytes(size);
      store.put(from, body, Precondition.NONE);
      ObjectInfo copied = store.copy(from, to, Precondition.ABSENT);
      assertEquals(to, copied.key());
      assertEquals(size, copied.size());
      assertEquals(copied.version(), store.head(to).orElseThrow().version());
      assertEquals(body, whole(to));
      assertKind(
          Kind.PRECONDITION_FAILED, () -> store.copy(from, to, Precondition.matches("\"0\"")));
      store.put(to, text("another's"), Precondition.NONE);
      assertKind(Kind.PRECONDITION_FAILED, () -> store.copy(from, to, Precondition.ABSENT));
      assertKind(
          Kind.PRECONDITION_FAILED,
          () -> store.copy(from, to, Precondition.matches(copied.version())));
      assertEquals(text("another's"), whole(to));
      String now = store.head(to).orElseThrow().version();
      store.copy(from, to, Precondition.matches(now));
      assertEquals(body, whole(to));
      store.delete(to);
      assertKind(Kind.PRECONDITION_FAILED, () -> store.copy(from, to, Precondition.matches(now)));
      assertEquals(Optional.empty(), store.head(to));
      assertEquals(List.of(), store.uploads(to));
    }
    assertKind(Kind.NOT_FOUND, () -> store.copy("nothing", "to/x", Precondition.ABSENT));
  }

  @Test
  void of_several_absent_copies_one_wins() throws Exception {
    int writers = 4;
    for (int i = 0; i < writers; i++) {
      store.put("from/" + i, text("copy " + i), Precondition.NONE);
    }
    for (int round = 0; round < rounds() / 2; round++) {
      String key = "race/" + round;
      CyclicBarrier start = new CyclicBarrier(writers);
      List<Callable<Optional<String>>> tasks = new ArrayList<>();
      for (int i = 0; i < writers; i++) {
        String mine = Integer.toString(i);
        tasks.add(
            () -> {
              start.await();
              while (true) {
                try {
                  store.copy("from/" + mine, key, Precondition.ABSENT);
                  return Optional.of("copy " + mine);
                } catch (StoreException e) {
                  if (e.kind() == Kind.PRECONDITION_FAILED) {
                    return Optional.empty();
                  }
                  if (e.kind() != Kind.CONFLICT) {
                    throw e;
                  }
                }
              }
            });
      }
      List<String> winners = new ArrayList<>();
      try (ExecutorService threads = Executors.newFixedThreadPool(writers)) {
        for (Future<Optional<String>> result : threads.invokeAll(tasks)) {
          result.get().ifPresent(winners::add);
        }
      }
      assertEquals(
          List.of(Blob.read(store, key, 100).orElseThrow().text()), winners, "in round " + round);
    }
  }

  // ---------------------------------------------------------------- multipart uploads

  @Test
  void parts_in_any_order_in_parallel_and_again() throws Exception {
    int parts = 5;
    List<ByteBuffer> bodies = new ArrayList<>();
    for (int i = 0; i < parts; i++) {
      bodies.add(data.bytes(i == parts - 1 ? 1_234_567 : 5 * MIB));
    }
    MultipartUpload upload = store.upload("big/one");
    assertEquals("big/one", upload.key());
    assertEquals(List.of(), upload.parts());
    List<Integer> order = new ArrayList<>(List.of(1, 2, 3, 4, 5));
    Collections.shuffle(order, data.random());
    upload.part(3, data.bytes(5 * MIB)); // is replaced
    upload.part(5, data.bytes(17));
    try (ExecutorService threads = Executors.newFixedThreadPool(parts)) {
      List<Future<Part>> sent = new ArrayList<>();
      for (int number : order) {
        sent.add(threads.submit(() -> upload.part(number, bodies.get(number - 1))));
      }
      for (int i = 0; i < parts; i++) {
        Part part = sent.get(i).get();
        assertEquals(order.get(i), part.number());
        assertEquals(bodies.get(part.number() - 1).limit(), part.size());
        assertEquals(0, bodies.get(part.number() - 1).position());
      }
    }
    assertEquals(Optional.empty(), store.head("big/one"));
    assertEquals(List.of(), keys("", ""));
    assertEquals(List.of(1, 2, 3, 4, 5), upload.parts().stream().map(Part::number).toList());
    assertEquals(1_234_567, upload.parts().getLast().size());
    ObjectInfo info = upload.complete(Precondition.NONE);
    ByteBuffer whole = TestData.join(bodies.toArray(ByteBuffer[]::new));
    assertEquals(whole.remaining(), info.size());
    assertEquals(info.version(), store.head("big/one").orElseThrow().version());
    assertEquals(whole, whole("big/one"));
    ByteBuffer across = ByteBuffer.allocateDirect(2 * MIB);
    store.get("big/one", 9 * MIB, across);
    assertEquals(whole.slice(9 * MIB, 2 * MIB), across.flip());
    assertEquals(List.of("big/one"), keys("", ""));
  }

  @Test
  void parts_of_mixed_sizes_and_numbers_with_gaps() throws Exception {
    ByteBuffer a = data.bytes(6 * MIB);
    ByteBuffer b = data.bytes(5 * MIB);
    ByteBuffer c = data.bytes(7 * MIB);
    ByteBuffer d = data.bytes(1);
    MultipartUpload upload = store.upload("gaps");
    upload.part(10_000, d);
    upload.part(40, b);
    upload.part(7, a);
    upload.part(900, c);
    assertEquals(List.of(7, 40, 900, 10_000), upload.parts().stream().map(Part::number).toList());
    upload.complete(Precondition.ABSENT);
    assertEquals(TestData.join(a, b, c, d), whole("gaps"));
    assertThrows(IllegalArgumentException.class, () -> upload.part(0, d));
    assertThrows(IllegalArgumentException.class, () -> upload.part(10_001, d));
  }

  @Test
  void one_short_part_is_enough_but_none_is_not() throws Exception {
    MultipartUpload upload = store.upload("short");
    assertKind(Kind.INVALID, () -> upload.complete(Precondition.NONE));
    upload.part(1, text("short"));
    assertEquals(5, upload.complete(Precondition.ABSENT).size());
    assertEquals(text("short"), whole("short"));
  }

  @Test
  void a_part_too_small_is_refused() throws Exception {
    MultipartUpload upload = store.upload("small");
    upload.part(1, data.bytes(5 * MIB - 1));
    upload.part(2, data.bytes(5 * MIB));
    assertKind(Kind.INVALID, () -> upload.complete(Precondition.NONE));
    assertEquals(Optional.empty(), store.head("small"));
    upload.abort();
  }

  @Test
  void another_client_takes_up_an_upload() throws Exception {
    ByteBuffer one = data.bytes(5 * MIB);
    ByteBuffer two = data.bytes(5 * MIB);
    ByteBuffer three = data.bytes(99);
    MultipartUpload begun = store.upload("resumed/it");
    begun.part(2, two);
    begun.part(1, data.bytes(5 * MIB));
    String id = begun.id();
    MultipartUpload resumed = client().resume("resumed/it", id);
    assertEquals("resumed/it", resumed.key());
    assertEquals(id, resumed.id());
    List<Part> parts = resumed.parts();
    assertEquals(List.of(1, 2), parts.stream().map(Part::number).toList());
    assertEquals(5 * MIB, parts.getFirst().size());
    resumed.part(1, one);
    resumed.part(3, three);
    ObjectInfo info = resumed.complete(Precondition.ABSENT);
    assertEquals(TestData.join(one, two, three), whole("resumed/it"));
    assertEquals(10 * MIB + 99, info.size());
  }

  @Test
  void an_upload_is_completed_by_a_client_that_sent_no_part() throws Exception {
    ByteBuffer one = data.bytes(5 * MIB);
    ByteBuffer two = data.bytes(12);
    MultipartUpload begun = store.upload("handed-over");
    begun.part(1, one);
    begun.part(2, two);
    client().resume("handed-over", begun.id()).complete(Precondition.ABSENT);
    assertEquals(TestData.join(one, two), whole("handed-over"));
  }

  @Test
  void complete_obeys_its_precondition() throws Exception {
    String version = store.put("c", text("first"), Precondition.NONE).version();
    MultipartUpload upload = store.upload("c");
    upload.part(1, text("second"));
    assertKind(Kind.PRECONDITION_FAILED, () -> upload.complete(Precondition.ABSENT));
    assertEquals(text("first"), whole("c"));
    assertEquals(1, upload.parts().size());
    String now = upload.complete(Precondition.matches(version)).version();
    assertEquals(text("second"), whole("c"));
    assertEquals(now, store.head("c").orElseThrow().version());

    MultipartUpload late = store.upload("c");
    late.part(1, text("third"));
    assertKind(Kind.PRECONDITION_FAILED, () -> late.complete(Precondition.matches(version)));
    late.abort();
    assertEquals(text("second"), whole("c"));
    store.delete("c");
    MultipartUpload absent = store.upload("c");
    absent.part(1, text("fourth"));
    absent.complete(Precondition.ABSENT);
    assertEquals(text("fourth"), whole("c"));
  }

  @Test
  void of_several_absent_completes_one_wins() throws Exception {
    int writers = 4;
    for (int round = 0; round < rounds() / 2; round++) {
      String key = "race/" + round;
      CyclicBarrier start = new CyclicBarrier(writers);
      List<Callable<Optional<String>>> tasks = new ArrayList<>();
      for (int i = 0; i < writers; i++) {
        String mine = "upload " + i;
        MultipartUpload upload = store.upload(key);
        upload.part(1, text(mine));
        tasks.add(
            () -> {
              start.await();
              while (true) {
                try {
                  upload.complete(Precondition.ABSENT);
                  return Optional.of(mine);
                } catch (StoreException e) {
                  if (e.kind() == Kind.PRECONDITION_FAILED) {
                    upload.abort();
                    return Optional.empty();
                  }
                  if (e.kind() != Kind.CONFLICT) {
                    throw e;
                  }
                }
              }
            });
      }
      List<String> winners = new ArrayList<>();
      try (ExecutorService threads = Executors.newFixedThreadPool(writers)) {
        for (Future<Optional<String>> result : threads.invokeAll(tasks)) {
          result.get().ifPresent(winners::add);
        }
      }
      assertEquals(
          List.of(Blob.read(store, key, 100).orElseThrow().text()), winners, "in round " + round);
    }
  }

  @Test
  void an_aborted_upload_is_gone() throws Throwable {
    MultipartUpload upload = store.upload("aborted");
    upload.part(1, data.bytes(5 * MIB));
    upload.abort();
    upload.abort();
    assertKind(Kind.NOT_FOUND, () -> upload.complete(Precondition.NONE));
    assertEquals(Optional.empty(), store.head("aborted"));
    assertEquals(List.of(), store.uploads("aborted"));
    unlessLacking(
        Lack.UNKNOWN_UPLOAD_IS_REFUSED,
        () -> {
          assertKind(Kind.NOT_FOUND, upload::parts);
          assertKind(Kind.NOT_FOUND, () -> upload.part(2, text("x")));
          assertKind(Kind.NOT_FOUND, () -> client().resume("aborted", upload.id()).parts());
        });
  }

  @Test
  void an_upload_of_another_key_or_of_none_is_not_found() throws Throwable {
    MultipartUpload upload = store.upload("mine");
    unlessLacking(
        Lack.UNKNOWN_UPLOAD_IS_REFUSED,
        () -> {
          assertKind(Kind.NOT_FOUND, () -> store.resume("other", upload.id()).parts());
          assertKind(
              Kind.NOT_FOUND,
              () -> store.resume("mine", "00000000-0000-4000-8000-000000000000").parts());
        });
    upload.abort();
  }

  @Test
  void pending_uploads_are_found() throws Throwable {
    MultipartUpload one = store.upload("pending/one");
    MultipartUpload two = store.upload("pending/two");
    MultipartUpload other = store.upload("other");
    List<PendingUpload> exact = store.uploads("pending/one");
    assertEquals(List.of(one.id()), exact.stream().map(PendingUpload::uploadId).toList());
    assertEquals("pending/one", exact.getFirst().key());
    assertTrue(Math.abs(exact.getFirst().startedMillis() - System.currentTimeMillis()) < 3_600_000);
    unlessLacking(
        Lack.UPLOADS_BY_PREFIX,
        () -> {
          assertEquals(
              List.of("pending/one", "pending/two"),
              store.uploads("pending/").stream().map(PendingUpload::key).toList());
          assertEquals(3, store.uploads("").size());
        });
    one.abort();
    two.abort();
    other.abort();
    assertEquals(List.of(), store.uploads("pending/one"));
  }

  /** As a clean-up does: with nothing but what the listing tells, also while parts are there. */
  @Test
  void another_client_aborts_what_it_finds() throws Throwable {
    MultipartUpload one = store.upload(".fusion/dump/3/pages/7-a b+c.pack");
    one.part(1, data.bytes(5 * MIB));
    MultipartUpload again = store.upload(one.key());
    MultipartUpload kept = store.upload(".fusion/dump/31/pages/8-x.pack");
    kept.part(1, text("kept"));
    ObjectStore other = client();
    List<PendingUpload> found = other.uploads(one.key());
    assertEquals(2, found.size(), found::toString);
    for (PendingUpload upload : found) {
      assertEquals(one.key(), upload.key());
      other.resume(upload.key(), upload.uploadId()).abort();
    }
    assertEquals(List.of(), store.uploads(one.key()));
    for (MultipartUpload gone : List.of(one, again)) {
      StoreException e =
          assertThrows(StoreException.class, () -> gone.complete(Precondition.NONE), gone.id());
      assertTrue(e.kind() == Kind.NOT_FOUND || e.kind() == Kind.INVALID, e::toString);
    }
    assertEquals(Optional.empty(), store.head(one.key()));
    unlessLacking(
        Lack.UPLOADS_BY_PREFIX,
        () -> {
          assertEquals(List.of(), store.uploads(".fusion/dump/3/"));
          assertEquals(
              List.of(kept.key()),
              store.uploads(".fusion/dump/").stream().map(PendingUpload::key).toList());
        });
    kept.complete(Precondition.ABSENT);
    assertEquals(text("kept"), whole(kept.key()));
  }

  // ---------------------------------------------------------------- threads

  @Test
  void an_interrupted_thread_is_told_so() throws Exception {
    store.put("i", text("x"), Precondition.NONE);
    for (Executable call :
        List.<Executable>of(
            () -> store.head("i"),
            () -> store.get("i", 0, ByteBuffer.allocate(1)),
            () -> store.put("i", text("y"), Precondition.NONE),
            () -> store.list("", ""),
            () -> store.listDirectory("", ""),
            () -> store.delete("i"))) {
      Thread.currentThread().interrupt();
      try {
        assertKind(Kind.INTERRUPTED, call);
      } finally {
        assertTrue(Thread.interrupted(), "the flag was cleared");
      }
    }
    assertEquals(text("x"), whole("i"));
  }

  @Test
  void readers_never_see_a_torn_object() throws Exception {
    int size = 256 << 10;
    store.put("torn", filled(size, (byte) 0), Precondition.NONE);
    try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
      Future<?> writer =
          threads.submit(
              () -> {
                for (int i = 1; i <= 40; i++) {
                  store.put("torn", filled(size, (byte) i), Precondition.NONE);
                }
                return null;
              });
      List<Future<?>> readers = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        readers.add(
            threads.submit(
                () -> {
                  do {
                    ByteBuffer into = ByteBuffer.allocate(size);
                    store.get("torn", 0, into);
                    into.flip();
                    assertEquals(filled(size, into.get(0)), into);
                  } while (!writer.isDone());
                  return null;
                }));
      }
      writer.get();
      for (Future<?> reader : readers) {
        reader.get();
      }
    }
  }

  private static ByteBuffer filled(int size, byte value) {
    byte[] bytes = new byte[size];
    java.util.Arrays.fill(bytes, value);
    return ByteBuffer.wrap(bytes);
  }
}
