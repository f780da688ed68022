package org.lifeboat.s3;

import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.ObjectStoreContract;

/** The contract, on each server that is at hand. */
final class S3StoreContractTest {

  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  abstract static class OnServer extends ObjectStoreContract {

    private final S3Server.Product product;
    private S3Server server = null;

    OnServer(S3Server.Product product) {
      this.product = product;
    }

    @BeforeAll
    final void start(@TempDir Path data) throws Exception {
      server = S3Server.start(product, data).createBucket("contract");
    }

    @AfterAll
    final void stop() {
      if (server != null) {
        server.close();
      }
    }

    @Override
    protected ObjectStore open(String name) throws Exception {
      return server.open("contract/" + name);
    }

    /** Three pages of a server's; ten and more in the long suite. */
    @Override
    protected int many() {
      return "long".equals(System.getProperty("lifeboat.suite")) ? 10_000 : 2_400;
    }
  }

  /** Lacks nothing. */
  @Nested
  final class Versitygw extends OnServer {
    Versitygw() {
      super(S3Server.Product.VERSITYGW);
    }
  }

  /** Lacks one thing. */
  @Nested
  final class Minio extends OnServer {
    Minio() {
      super(S3Server.Product.MINIO);
    }

    @Override
    protected Set<Lack> lacks() {
      return EnumSet.of(Lack.UPLOADS_BY_PREFIX);
    }
  }

  /** Lacks three things, and is slow. */
  @Nested
  final class S3Proxy extends OnServer {
    S3Proxy() {
      super(S3Server.Product.S3PROXY);
    }

    @Override
    protected Set<Lack> lacks() {
      return EnumSet.of(
          Lack.ONE_WINNER_OF_MATCHES, Lack.UNKNOWN_UPLOAD_IS_REFUSED, Lack.ORDER_BY_UTF_8);
    }
  }
}
