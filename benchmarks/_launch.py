"""Run a command and print, as JSON, the resources that it and its children used.

Memory is counted from the fork on, so a small process must do it; otherwise the peak includes a benchmark's own data.
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
