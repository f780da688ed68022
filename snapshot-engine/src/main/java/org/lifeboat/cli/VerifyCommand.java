package org.lifeboat.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.snapshot.SnapshotException;
import org.lifeboat.snapshot.Verifier;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.ExitCodes;
import org.lifeboat.task.Stores;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
    name = "verify",
    mixinStandardHelpOptions = true,
    description = {
      "Reads all of a snapshot and checks every byte against its digests.",
      "",
      "Every snapshot that can be restored is checked, or the one named. Changes nothing.",
      ""
    },
    footer = {"", "Exit codes: 0 all is well; 176 something is damaged or missing (it is named)."})
final class VerifyCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;

  @Mixin private StoreOption store;

  @Option(names = "--json", description = "Print as JSON.")
  private boolean json;

  @Parameters(arity = "0..1", paramLabel = "ID", description = "The dump's number.")
  private Integer id;

  @Override
  public Integer call() throws IOException, InterruptedException {
    StoreUrl url = store.url();
    PrintWriter out = spec.commandLine().getOut();
    List<Finding> findings = new ArrayList<>();
    try (ObjectStore open = Stores.open(url, System.getenv())) {
      Catalog catalog = new Catalog(open);
      List<String> lost = catalog.verifyMetadata();
      if (!lost.isEmpty()) {
        add(findings, new Finding(0, false, lost), out);
      }
      Optional<DumpMetadata> document = Optional.empty();
      try {
        document = catalog.metadata();
      } catch (SnapshotException e) {
        if (e.kind() != SnapshotException.Kind.DAMAGED) {
          throw e;
        }
      }
      if (document.isEmpty() && !lost.isEmpty()) {
        finish(findings, out);
        return ExitCodes.RESTORE;
      }
      for (DumpMetadata.Dump dump : Chosen.dumps(spec, url, document, id)) {
        List<String> damage =
            dump.manifestSha256() == null
                ? List.of("it was never committed")
                : new Verifier(open).verify(dump);
        add(findings, new Finding(dump.id(), damage.isEmpty(), damage), out);
      }
    }
    if (!json && findings.isEmpty()) {
      out.println("no snapshot in " + url + " can be restored");
    }
    finish(findings, out);
    return findings.stream().allMatch(Finding::whole) ? 0 : ExitCodes.RESTORE;
  }

  private void finish(List<Finding> findings, PrintWriter out) {
    if (json) {
      out.println(SealedJson.mapper().writeValueAsString(findings));
    }
    out.flush();
  }

  private void add(List<Finding> findings, Finding finding, PrintWriter out) {
    findings.add(finding);
    if (!json) {
      String what = finding.dump() == 0 ? "dump_metadata" : "snapshot " + finding.dump();
      out.println(what + ": " + (finding.whole() ? "whole" : "DAMAGED"));
      finding.damage().forEach(line -> out.println("  " + line));
      out.flush();
    }
  }

  /**
   * What was found.
   *
   * @param dump its number, 0 for what is known of all dumps
   */
  private record Finding(int dump, boolean whole, List<String> damage) {}
}
