package org.lifeboat.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.encoder.PatternLayoutEncoder;
import ch.qos.logback.classic.spi.Configurator;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.spi.ContextAwareBase;
import java.util.Locale;

/**
 * Sets up Logback in code, which starts faster than its XML: lines with time and level on stderr,
 * as the task's own output goes to stdout. LIFEBOAT_LOG_LEVEL chooses error, warn, info (the
 * default) or debug.
 */
public final class Logging extends ContextAwareBase implements Configurator {

  @Override
  public ExecutionStatus configure(LoggerContext context) {
    PatternLayoutEncoder encoder = new PatternLayoutEncoder();
    encoder.setContext(context);
    encoder.setPattern(
        "%d{yyyy-MM-dd'T'HH:mm:ss.SSS'Z', UTC} lifeboat %-5level %msg%n"
            + (level().isGreaterOrEqual(Level.INFO) ? "%ex{3}" : "%ex"));
    encoder.start();
    ConsoleAppender<ILoggingEvent> appender = new ConsoleAppender<>();
    appender.setContext(context);
    appender.setTarget("System.err");
    appender.setEncoder(encoder);
    appender.start();
    Logger root = context.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);
    root.setLevel(Level.WARN);
    root.addAppender(appender);
    context.getLogger("org.lifeboat").setLevel(level());
    return ExecutionStatus.DO_NOT_INVOKE_NEXT_IF_ANY;
  }

  private static Level level() {
    for (String name : new String[] {"LIFEBOAT_LOG_LEVEL", "FUSION_SNAPSHOT_LOG_LEVEL"}) {
      String value = System.getenv(name);
      if (value != null && !value.isEmpty()) {
        return Level.toLevel(value.toUpperCase(Locale.ROOT), Level.INFO);
      }
    }
    return Level.INFO;
  }
}
