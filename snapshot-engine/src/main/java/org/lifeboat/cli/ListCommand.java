package org.lifeboat.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.Durations;
import org.lifeboat.task.Sizes;
import org.lifeboat.task.Stores;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

@Command(
    name = "list",
    mixinStandardHelpOptions = true,
    description = {"Lists the dumps that a store URL holds, and how its task stands.", ""},
    footer = {
      "",
      "States: DUMPING under way or torn; COMPLETE, RESTORING, RESTORED can be restored; FAILED."
    })
final class ListCommand implements Callable<Integer> {

  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss", Locale.ROOT).withZone(ZoneOffset.UTC);

  @Spec private CommandSpec spec;

  @Mixin private StoreOption store;

  @Option(names = "--json", description = "Print as JSON.")
  private boolean json;

  @Override
  public Integer call() throws IOException {
    StoreUrl url = store.url();
    PrintWriter out = spec.commandLine().getOut();
    try (ObjectStore open = Stores.open(url, System.getenv())) {
      Optional<DumpMetadata> found = new Catalog(open).metadata();
      if (json) {
        out.println(
            SealedJson.mapper()
                .writeValueAsString(
                    new Listing(
                        url.toString(),
                        found.map(DumpMetadata::epoch).orElse(0L),
                        found.map(DumpMetadata::owner).orElse(null),
                        found.map(DumpMetadata::command).orElse(List.of()),
                        found.map(DumpMetadata::directory).orElse(null),
                        found.map(DumpMetadata::task).orElse(null),
                        found.map(DumpMetadata::dumps).orElse(List.of()))));
      } else if (found.isEmpty()) {
        out.println("nothing was ever saved in " + url);
      } else {
        print(out, found.get());
      }
    }
    out.flush();
    return 0;
  }

  private static void print(PrintWriter out, DumpMetadata document) {
    out.println("command  " + String.join(" ", document.command()));
    out.println(
        "task     "
            + (document.task().state() == DumpMetadata.TaskState.ENDED
                ? "ended with exit code " + document.task().exitCode()
                : document.owner().released()
                    ? "saved, not running"
                    : "running on " + document.owner().host() + ", unless that host was lost"));
    if (document.dumps().isEmpty()) {
      out.println("no dumps");
      return;
    }
    out.printf(
        Locale.ROOT,
        "%4s  %-9s  %-19s  %10s  %10s  %8s%n",
        "ID",
        "STATE",
        "BEGUN (UTC)",
        "MEMORY",
        "STORED",
        "FROZEN");
    for (DumpMetadata.Dump dump : document.dumps()) {
      boolean done = dump.manifestSha256() != null;
      out.printf(
          Locale.ROOT,
          "%4d  %-9s  %-19s  %10s  %10s  %8s%s%n",
          dump.id(),
          dump.state(),
          TIME.format(Instant.ofEpochMilli(dump.startedAt())),
          done ? Sizes.show(dump.rawBytes()) : "-",
          done ? Sizes.show(dump.storedBytes()) : "-",
          done ? Durations.show(Duration.ofNanos(dump.frozenMicros() * 1000)) : "-",
          dump.error() == null ? "" : "  " + dump.error());
    }
  }

  private record Listing(
      String store,
      long epoch,
      DumpMetadata.Owner owner,
      List<String> command,
      String directory,
      DumpMetadata.Task task,
      List<DumpMetadata.Dump> dumps) {}
}
