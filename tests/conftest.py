import signal

# Whoever started the tests in the background has interrupts ignored, and with them every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
