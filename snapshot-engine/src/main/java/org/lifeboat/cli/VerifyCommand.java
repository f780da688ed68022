package org.lifeboat.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.SealedJson;
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
      for (DumpMetadata.Dump dump : Chosen.dumps(spec, url, catalog.metadata(), id)) {
        List<String> damage =
            dump.manifestSha256() == null
                ? List.of("it was never committed")
                : new Verifier(open).verify(dump);
        findings.add(new Finding(dump.id(), damage.isEmpty(), damage));
        if (!json) {
          out.println("snapshot " + dump.id() + ": " + (damage.isEmpty() ? "whole" : "DAMAGED"));
          damage.forEach(line -> out.println("  " + line));
          out.flush();
        }
      }
    }
    if (json) {
      out.println(SealedJson.mapper().writeValueAsString(findings));
    } else if (findings.isEmpty()) {
      out.println("no snapshot in " + url + " can be restored");
    }
    out.flush();
    return findings.stream().allMatch(Finding::whole) ? 0 : ExitCodes.RESTORE;
  }

  private record Finding(int dump, boolean whole, List<String> damage) {}
}
