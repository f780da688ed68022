package org.lifeboat.cli;

import org.lifeboat.store.StoreUrl;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The option that names the store. */
final class StoreOption {

  @Spec(Spec.Target.MIXEE)
  private CommandSpec mixee;

  @Option(
      names = "--store",
      required = true,
      paramLabel = "URL",
      description = {
        "Where the snapshots are kept: file:///directory or s3://bucket/prefix. "
            + "One URL is one task: snapshots stand in URL/.fusion/dump."
      })
  private String url;

  StoreOption() {}

  StoreOption(String url) {
    this.url = url;
  }

  StoreUrl url() {
    try {
      return StoreUrl.parse(url);
    } catch (IllegalArgumentException e) {
      CommandLine line = mixee.commandLine();
      throw new ParameterException(line, e.getMessage(), e);
    }
  }
}
