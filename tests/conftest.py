import os
import signal

# Whoever started the tests in the background has interrupts ignored, and with them every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# PyTorch's threads wait for each other in busy loops. Beside other processes, and the tests run two at a time, that takes
# three to seven times the CPU time of a single thread. PyTorch reads this when it is loaded, and so do the stages.
os.environ.setdefault("OMP_NUM_THREADS", "1")
