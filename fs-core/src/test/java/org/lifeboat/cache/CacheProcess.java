package org.lifeboat.cache;

import static org.lifeboat.cache.CacheFixture.BLOCK;

import org.lifeboat.crash.CrashPoints;
import org.lifeboat.sys.BytePath;
import org.lifeboat.sys.Stat;

/** The engine that {@link CacheCrashTest} kills: says what it has done. */
final class CacheProcess {

  static final TestSource ONE = TestSource.random(5 * BLOCK + 7, 1);
  static final TestSource TWO = TestSource.random(60 * BLOCK, 2);
  static final TestSource THREE = TestSource.random(3 * BLOCK, 3);
  static final byte[] WRITTEN = TestSource.random(2 * BLOCK + 1, 4).data;
  static final Limits TIGHT = new Limits(40 * BLOCK, 0);

  private CacheProcess() {}

  public static void main(String[] arguments) throws Exception {
    BytePath directory = BytePath.of(arguments[0]);
    CrashPoints points = CrashPoints.of(System.getenv());
    Cache cache =
        Cache.open(directory, TIGHT, new CacheFixture.Ticking(), points, CacheFixture.SMALL);
    Content one = cache.create(1);
    CacheFixture.write(one, 0, ONE.data);
    say("dirty 1");
    Content two = cache.attach(2, TWO.origin("v2"), TWO);
    for (int i = 0; i < 60; i++) {
      CacheFixture.read(two, (long) i * BLOCK, BLOCK);
    }
    Content three = cache.attach(3, THREE.origin("v3"), THREE);
    three.makeWhole();
    three.truncate(0);
    CacheFixture.write(three, 0, WRITTEN);
    say("dirty 3");
    Stat stat = one.stat();
    one.markClean(ONE.origin("v1"), ONE, stat);
    say("clean 1");
    three.seal(directory.parent().resolve("sealed"));
    two.discard();
    say("done");
    cache.close();
  }

  private static void say(String line) {
    System.out.println(line);
    System.out.flush();
  }
}
