#!/usr/bin/python3
"""Counts; holds a descriptor that cannot be checkpointed (/dev/fuse) until there is a file `release`. Arguments: STEPS PAUSE."""
import os
import sys
import time

device = os.open("/dev/fuse", os.O_RDWR)
for step in range(1, int(sys.argv[1]) + 1):
    print("step", step, flush=True)
    if device is not None and os.path.exists("release"):
        os.close(device)
        device = None
        print("released", file=sys.stderr, flush=True)
    if not os.path.exists("hurry"):
        time.sleep(float(sys.argv[2]))
