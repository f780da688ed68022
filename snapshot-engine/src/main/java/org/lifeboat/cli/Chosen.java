package org.lifeboat.cli;

import java.util.List;
import java.util.Optional;
import org.lifeboat.snapshot.DumpMetadata;
import org.lifeboat.store.StoreUrl;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** Which dumps a command is about: the one that was named, or those that can be restored. */
final class Chosen {

  private Chosen() {}

  static List<DumpMetadata.Dump> dumps(
      CommandSpec spec, StoreUrl url, Optional<DumpMetadata> document, Integer id) {
    if (document.isEmpty()) {
      throw new ParameterException(spec.commandLine(), "nothing was ever saved in " + url);
    }
    if (id == null) {
      return document.get().restorable();
    }
    return List.of(
        document
            .get()
            .dump(id)
            .orElseThrow(
                () ->
                    new ParameterException(
                        spec.commandLine(),
                        url + " has no dump " + id + " (lifeboat list shows them)")));
  }
}
