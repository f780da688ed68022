"""The task `numpy`: arrays of MIB in all, as an analysis has them, a tenth of it Python objects.

    arrays.py MIB READY

Of ten parts: 3 measurements (normal noise, float64), 2 the same rounded to a hundredth (float64), 2 a random walk
(int32), 1 sorted event times (int64), 1 a mask with few hits (bool), 1 a dictionary of records (strings, numbers).
"""

import os
import signal
import sys

import numpy

part = int(sys.argv[1]) * (1 << 20) // 10
random = numpy.random.default_rng(1)
kept = [random.standard_normal(3 * part // 8)]
kept.append(numpy.round(random.standard_normal(2 * part // 8) * 50, 2))
kept.append(numpy.cumsum(random.integers(-20, 21, 2 * part // 4, dtype=numpy.int32), dtype=numpy.int32))
kept.append(numpy.cumsum(random.integers(1, 5000, part // 8, dtype=numpy.int64)))
kept.append(random.random(part, dtype=numpy.float32) < 0.01)
kept.append({f"sample-{number:08d}": (number, number * 0.25, f"batch {number % 97}") for number in range(part // 330)})
with open(sys.argv[2], "w") as ready:
    ready.write(str(os.getpid()))
while True:
    signal.pause()
