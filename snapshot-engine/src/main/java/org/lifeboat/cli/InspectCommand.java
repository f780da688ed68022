package org.lifeboat.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Catalog;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.snapshot.Manifest;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.task.Sizes;
import org.lifeboat.task.Stores;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    description = {
      "Shows what a snapshot holds: the newest one that can be restored, or the one named.",
      ""
    })
final class InspectCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;

  @Mixin private StoreOption store;

  @Option(names = "--json", description = "Print as JSON.")
  private boolean json;

  @Parameters(arity = "0..1", paramLabel = "ID", description = "The dump's number.")
  private Integer id;

  @Override
  public Integer call() throws IOException {
    StoreUrl url = store.url();
    PrintWriter out = spec.commandLine().getOut();
    try (ObjectStore open = Stores.open(url, System.getenv())) {
      Catalog catalog = new Catalog(open);
      List<DumpMetadata.Dump> dumps = Chosen.dumps(spec, url, catalog.metadata(), id);
      if (dumps.isEmpty()) {
        out.println("no snapshot in " + url + " can be restored");
        out.flush();
        return 1;
      }
      DumpMetadata.Dump dump = dumps.getFirst();
      Manifest manifest = dump.manifestSha256() == null ? null : catalog.manifest(dump);
      if (json) {
        out.println(SealedJson.mapper().writeValueAsString(new Inspection(dump, manifest)));
      } else {
        print(out, dump, manifest);
      }
      out.flush();
      return 0;
    }
  }

  private static void print(PrintWriter out, DumpMetadata.Dump dump, Manifest manifest) {
    out.println("dump       " + dump.id() + " (" + dump.type() + ", " + dump.state() + ")");
    if (dump.error() != null) {
      out.println("failed     " + dump.error());
    }
    if (manifest == null) {
      out.println("it was not committed: there is no manifest");
      return;
    }
    Manifest.Host host = manifest.host();
    out.println("command    " + String.join(" ", manifest.command()));
    out.println("directory  " + manifest.directory());
    out.println("tree       " + manifest.processes() + " processes, root " + manifest.root());
    out.println(
        "memory     "
            + Sizes.show(manifest.rawBytes())
            + "; all of it stored in "
            + Sizes.show(manifest.storedBytes())
            + " ("
            + manifest.packs().size()
            + " packs)");
    long images = manifest.images().values().stream().mapToLong(Manifest.Item::size).sum();
    out.println("images     " + manifest.images().size() + ", " + Sizes.show(images));
    out.println(
        "host       "
            + host.name()
            + ", "
            + host.arch()
            + ", Linux "
            + host.kernel()
            + ", "
            + host.os()
            + ", "
            + host.cpu()
            + ", CRIU "
            + host.criu());
    out.println("written by lifeboat " + manifest.lifeboat() + ", epoch " + manifest.epoch());
  }

  private record Inspection(DumpMetadata.Dump dump, Manifest manifest) {}
}
