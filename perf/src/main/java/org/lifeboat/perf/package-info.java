/** The parts of the benchmarks that must be Java; {@code perf/run} starts them. */
package org.lifeboat.perf;
