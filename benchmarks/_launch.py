"""Runs a command and prints, as JSON, what it and its children took.

Memory is counted from the fork on: a small process has to do it, else the least peak is that of a benchmark's own data.
"""

import json
import os
import sys
import time

start = time.perf_counter()
process = os.posix_spawnp(
    sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)], setsigdef=[]
)
_, status, usage = os.wait4(process, 0)
taken = time.perf_counter() - start
used = {"seconds": taken, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}
print(json.dumps({**used, "status": os.waitstatus_to_exitcode(status)}))
