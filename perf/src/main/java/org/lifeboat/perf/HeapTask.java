package org.lifeboat.perf;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;

/**
 * The task {@code jvm}: a heap full of customers and their orders.
 *
 * <pre>
 *  HeapTask MIB READY
 * </pre>
 */
public final class HeapTask {

  private static final int CUSTOMERS_PER_MIB = 800;
  private static final int ORDERS = 8;
  private static final String[] STATES = {"open", "paid", "sent", "closed"};

  private static final Map<String, Customer> kept = new HashMap<>();

  private HeapTask() {}

  private record Customer(long id, String name, List<Order> orders) {}

  private record Order(long id, double amount, String state, String note, long time) {}

  /** Fills the heap, writes the file READY with its process id, and waits; see the class. */
  public static void main(String[] args) throws IOException, InterruptedException {
    Random random = new Random(1);
    int customers = Integer.parseInt(args[0]) * CUSTOMERS_PER_MIB;
    long order = 0;
    long time = 1_700_000_000_000L;
    for (int i = 0; i < customers; i++) {
      List<Order> orders = new ArrayList<>(ORDERS);
      for (int j = 0; j < ORDERS; j++) {
        time += random.nextInt(5000);
        orders.add(
            new Order(
                order++,
                random.nextInt(1_000_000) / 100.0,
                STATES[random.nextInt(STATES.length)],
                "reference " + Long.toHexString(random.nextLong()),
                time));
      }
      Customer customer = new Customer(i, "customer-" + random.nextInt(1_000_000_000), orders);
      kept.put(customer.name(), customer);
    }
    Files.writeString(Path.of(args[1]), Long.toString(ProcessHandle.current().pid()));
    new CountDownLatch(1).await();
  }
}
