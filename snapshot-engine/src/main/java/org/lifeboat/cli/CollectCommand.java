package org.lifeboat.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.lifeboat.snapshot.Collector;
import org.lifeboat.snapshot.SealedJson;
import org.lifeboat.snapshot.Sweep;
import org.lifeboat.snapshot.TaskSearch;
import org.lifeboat.store.ObjectStore;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;
import org.lifeboat.store.SubStore;
import org.lifeboat.task.Durations;
import org.lifeboat.task.ExitCodes;
import org.lifeboat.task.Sizes;
import org.lifeboat.task.Stores;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
    name = "gc",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Shows what tasks that nobody runs have left below a URL, and removes it with --delete.",
      "",
      "That is: objects of dumps that were torn, failed or superseded, of tasks that have ended, and "
          + "uploads to .fusion/dump that were never finished. Logs and dump_metadata stay, and so do "
          + "snapshots that can be restored, unless --give-up says otherwise. A task that runs, or of which "
          + "anything is younger than --older-than, is left alone, as is everything outside of .fusion/dump.",
      ""
    })
final class CollectCommand implements Callable<Integer> {

  @Spec private CommandSpec spec;

  @Parameters(
      arity = "1..*",
      paramLabel = "URL",
      description =
          "A task's store, or a folder below which there are tasks (file:///directory or s3://bucket/prefix).")
  private List<String> urls = new ArrayList<>();

  @Option(names = "--delete", description = "Remove it; without this nothing is changed.")
  private boolean delete;

  @Option(
      names = "--older-than",
      paramLabel = "DURATION",
      defaultValue = "1d",
      converter = DurationConverter.class,
      description = "Leave alone what was written to more recently (default 1d).")
  private Duration olderThan;

  @Option(
      names = "--give-up",
      description =
          "Also snapshots that can be restored, of tasks that nobody runs: their work is lost then.")
  private boolean giveUp;

  @Option(names = "--json", description = "Print as JSON.")
  private boolean json;

  @Override
  public Integer call() throws IOException, InterruptedException {
    List<StoreUrl> parsed = new ArrayList<>();
    for (String url : urls) {
      try {
        parsed.add(StoreUrl.parse(url));
      } catch (IllegalArgumentException e) {
        throw new ParameterException(spec.commandLine(), e.getMessage(), e);
      }
    }
    Collector collector = new Collector(Clock.systemUTC(), Thread::sleep, olderThan, giveUp);
    List<Report> reports = new ArrayList<>();
    int code = 0;
    for (StoreUrl url : parsed) {
      List<ObjectStore> stores = new ArrayList<>();
      try (ObjectStore whole = Stores.open(url, System.getenv())) {
        try {
          for (String folder : new TaskSearch(whole).folders()) {
            stores.add(open(whole, folder));
          }
          for (Collector.Task task : collector.look(stores)) {
            long uploaded = Collector.uploadedBytes(task);
            boolean removed = delete && collector.remove(task);
            if (delete && !removed) {
              spec.commandLine()
                  .getErr()
                  .println(
                      "lifeboat: "
                          + task.store().url()
                          + " was taken up while this looked at it: left alone");
              code = ExitCodes.FAILURE;
            }
            boolean nothing = task.state() == Collector.State.ORPHANED && task.rubbish().isEmpty();
            if (!nothing) {
              reports.add(Report.of(task, uploaded, removed));
            }
          }
        } finally {
          stores.forEach(ObjectStore::close); // to close one twice does no harm
        }
      }
    }
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      out.println(SealedJson.mapper().writeValueAsString(new Reports(delete, reports)));
    } else {
      print(out, reports);
    }
    out.flush();
    return code;
  }

  private static ObjectStore open(ObjectStore whole, String folder) throws StoreException {
    if (folder.isEmpty()) {
      return whole;
    }
    StoreUrl url = whole.url();
    return url.scheme().equals("file")
        ? Stores.open(
            new StoreUrl(url.scheme(), url.bucket(), url.path() + "/" + folder), System.getenv())
        : new SubStore(whole, folder);
  }

  private void print(PrintWriter out, List<Report> reports) {
    if (reports.isEmpty()) {
      out.println("no task has anything below " + String.join(" ", urls));
      return;
    }
    long objects = 0;
    long bytes = 0;
    int uploads = 0;
    for (Report report : reports) {
      out.println(report.url + ": " + words(report));
      for (Item item : report.items) {
        out.printf(
            Locale.ROOT,
            "  dump %d (%s): %d objects, %s%s%n",
            item.dump,
            item.why,
            item.objects,
            Sizes.show(item.bytes),
            item.uploads == 0 ? "" : ", " + item.uploads + " unfinished uploads");
        objects += item.objects;
        bytes += item.bytes;
        uploads += item.uploads;
      }
      bytes += report.uploadedBytes;
    }
    out.println(
        (delete ? "removed " : "could be removed: ")
            + objects
            + " objects and "
            + uploads
            + " unfinished uploads, "
            + Sizes.show(bytes)
            + (delete || objects + uploads == 0 ? "" : " (add --delete)"));
  }

  private String words(Report report) {
    String since = " for " + Durations.show(Duration.ofMillis(report.idleMillis));
    return switch (report.state) {
      case RUNNING -> "a run has it: left alone";
      case YOUNG -> "nothing was written" + since + ", which is less than --older-than: left alone";
      case UNREADABLE -> "left alone: " + report.error;
      case ORPHANED -> "there is no dump_metadata; nothing was written" + since;
      case ENDED -> "the task has ended; nothing was written" + since;
      case WAITING ->
          "nobody runs the task; nothing was written"
              + since
              + (report.restorable.isEmpty()
                  ? "; no snapshot can be restored"
                  : "; snapshots that can be restored: "
                      + report.restorable.stream().map(String::valueOf).toList()
                      + (giveUp ? ", given up" : ", kept (--give-up removes them too)"));
    };
  }

  private record Reports(boolean deleted, List<Report> tasks) {}

  private record Report(
      String url,
      Collector.State state,
      String error,
      long idleMillis,
      List<Integer> restorable,
      boolean removed,
      long uploadedBytes,
      List<Item> items) {

    static Report of(Collector.Task task, long uploadedBytes, boolean removed) {
      return new Report(
          task.store().url().toString(),
          task.state(),
          task.error(),
          task.idleMillis(),
          task.restorable(),
          removed && !task.rubbish().isEmpty(),
          uploadedBytes,
          task.rubbish().stream().map(Item::of).toList());
    }
  }

  private record Item(int dump, String why, int objects, long bytes, int uploads) {
    static Item of(Sweep.Rubbish rubbish) {
      return new Item(
          rubbish.dump(),
          rubbish.why().toString(),
          rubbish.objects().size(),
          rubbish.bytes(),
          rubbish.uploads().size());
    }
  }
}
