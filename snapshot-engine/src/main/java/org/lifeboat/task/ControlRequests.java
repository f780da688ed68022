package org.lifeboat.task;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import org.lifeboat.snapshot.DumpRequest;
import tools.jackson.databind.JsonNode;

/**
 * Turns what comes over the control socket into events for the engine's loop.
 *
 * <pre>
 *  {"op":"checkpoint","leaveRunning":false,"deadlineMillis":0}
 *  {"op":"ping"}
 * </pre>
 */
final class ControlRequests implements ControlServer.Handler {

  private static final long MAX_DEADLINE = Duration.ofDays(3650).toMillis();

  private final Consumer<Event> events;

  ControlRequests(Consumer<Event> events) {
    this.events = events;
  }

  @Override
  public void handle(JsonNode request, ControlServer.Reply reply) throws InterruptedException {
    switch (request.path("op").asString("")) {
      case "ping" -> reply.send(new Pong(true, 0));
      case "checkpoint" -> {
        long deadline = Math.min(request.path("deadlineMillis").asLong(0), MAX_DEADLINE);
        CountDownLatch answered = new CountDownLatch(1);
        DumpRequest dump =
            new DumpRequest(
                request.path("leaveRunning").asBoolean(false),
                deadline > 0 ? Optional.of(Duration.ofMillis(deadline)) : Optional.empty(),
                "lifeboat checkpoint");
        events.accept(
            new Event.Checkpoint(
                dump,
                message -> {
                  reply.send(message);
                  if (!(message instanceof org.lifeboat.snapshot.DumpProgress)) {
                    answered.countDown();
                  }
                }));
        answered.await();
      }
      default -> reply.send(new ControlServer.Failed(true, ExitCodes.USAGE, "unknown request"));
    }
  }

  private record Pong(boolean done, int code) {}
}
