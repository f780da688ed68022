package org.lifeboat.snapshot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Which hosts a snapshot can go on on. */
final class HostFactsTest {

  private static Manifest.Host host(String arch, int pageSize, String cpu, String... flags) {
    return new Manifest.Host("h", arch, "6.18", "4.2", pageSize, cpu, List.of(flags), "an os");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "avx2",
        "avx512f",
        "avx512_vnni",
        "sse4_2",
        "amx_tile",
        "aes",
        "bmi2",
        "sve",
        "pku"
      })
  void aCpuThatLacksInstructionsIsRefusedByName(String flag) throws SnapshotException {
    Manifest.Host saved = host("amd64", 4096, "big", "fpu", flag, "sse2");
    Manifest.Host here = host("amd64", 4096, "small", "fpu", "sse2", "more");
    SnapshotException e = assertThrows(SnapshotException.class, () -> HostFacts.check(saved, here));
    assertEquals(SnapshotException.Kind.ENVIRONMENT, e.kind());
    assertTrue(
        e.getMessage().contains("(big)")
            && e.getMessage().contains("(small)")
            && e.getMessage().contains("not have: " + flag + " ("),
        e::getMessage);
    HostFacts.check(here, saved); // the other way round nothing is missing
  }

  @ParameterizedTest
  @ValueSource(strings = {"erms", "fsrm", "ibrs", "svm", "constant_tsc", "hypervisor", "arat"})
  void flagsThatNoProgramNeedsDoNotMatter(String flag) throws SnapshotException {
    HostFacts.check(host("amd64", 4096, "a", "fpu", flag), host("amd64", 4096, "b", "fpu"));
  }
}
