package org.lifeboat.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.ExitCodes;
import org.lifeboat.task.Sizes;
import org.lifeboat.task.Stores;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
    name = "rm",
    mixinStandardHelpOptions = true,
    description = {
      "Removes dumps from a store: the ones named, or all with --all. Their logs stay. "
          + "Refuses to remove the last snapshot that can be restored, unless --force is given.",
      ""
    })
final class RemoveCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;

  @Mixin private StoreOption store;

  @Option(names = "--all", description = "All dumps.")
  private boolean all;

  @Option(names = "--force", description = "Also the last snapshot that can be restored.")
  private boolean force;

  @Option(names = "--json", description = "Print as JSON.")
  private boolean json;

  @Parameters(arity = "0..*", paramLabel = "ID", description = "The dumps' numbers.")
  private List<Integer> ids = new ArrayList<>();

  @Override
  public Integer call() throws IOException {
    StoreUrl url = store.url();
    PrintWriter out = spec.commandLine().getOut();
    if (ids.isEmpty() == !all) {
      throw new ParameterException(spec.commandLine(), "name the dumps, or give --all");
    }
    try (ObjectStore open = Stores.open(url, System.getenv())) {
      Catalog catalog = new Catalog(open);
      Optional<DumpMetadata> document = catalog.metadata();
      List<DumpMetadata.Dump> chosen = new ArrayList<>();
      if (all) {
        document.ifPresent(d -> chosen.addAll(d.dumps()));
      } else {
        for (Integer id : new LinkedHashSet<>(ids)) {
          chosen.addAll(Chosen.dumps(spec, url, document, id));
        }
      }
      for (DumpMetadata.Dump dump : chosen) {
        if (!force && document.orElseThrow().underWay(dump)) {
          spec.commandLine()
              .getErr()
              .println(
                  "lifeboat: dump "
                      + dump.id()
                      + " is under way on "
                      + document.get().owner().host()
                      + " (add --force if that host was lost)");
          return ExitCodes.USAGE;
        }
      }
      boolean leavesNone =
          document.isPresent()
              && !document.get().restorable().isEmpty()
              && chosen.stream()
                  .map(DumpMetadata.Dump::id)
                  .toList()
                  .containsAll(
                      document.get().restorable().stream().map(DumpMetadata.Dump::id).toList());
      if (leavesNone && !force && document.get().task().state() == DumpMetadata.TaskState.ACTIVE) {
        spec.commandLine()
            .getErr()
            .println(
                "lifeboat: that would remove the last snapshot that can be restored, and with it the"
                    + " task's work (add --force if that is meant)");
        return ExitCodes.USAGE;
      }
      List<Removed> removed = new ArrayList<>();
      for (DumpMetadata.Dump dump : chosen) {
        removed.add(new Removed(dump.id(), catalog.remove(dump.id())));
      }
      if (json) {
        out.println(SealedJson.mapper().writeValueAsString(removed));
      } else {
        removed.forEach(
            r -> out.println("removed dump " + r.dump() + ", " + Sizes.show(r.bytes())));
      }
      out.flush();
      return 0;
    }
  }

  private record Removed(int dump, long bytes) {}
}
