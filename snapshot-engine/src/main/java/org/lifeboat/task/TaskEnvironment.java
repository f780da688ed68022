package org.lifeboat.task;

import java.util.Map;
import java.util.TreeMap;

/**
 * The environment that the task gets: the user's own, as it was before our launcher touched it. The
 * launcher keeps what it had to change under LIFEBOAT_TASK_NAME (the word {@code unset} where there
 * was nothing).
 */
final class TaskEnvironment {

  private static final String KEPT = "LIFEBOAT_TASK_";

  private TaskEnvironment() {}

  static Map<String, String> of(Map<String, String> ours) {
    Map<String, String> task = new TreeMap<>(ours);
    task.remove("LIFEBOAT_RUN_DIR");
    task.remove("LIFEBOAT_HOME");
    for (Map.Entry<String, String> entry : ours.entrySet()) {
      if (entry.getKey().startsWith(KEPT)) {
        task.remove(entry.getKey());
        String name = entry.getKey().substring(KEPT.length());
        if (entry.getValue().equals("unset")) {
          task.remove(name);
        } else {
          task.put(name, entry.getValue());
        }
      }
    }
    return task;
  }
}
