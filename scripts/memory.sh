#!/usr/bin/env bash
# Prints a folder in memory for the files of tests, if there is room for them; nothing otherwise.
# Tests sync thousands of small files, which takes a third of their time on a disk.
set -euo pipefail

folder=/dev/shm
needed_kb=$((6 * 1024 * 1024))
if [ -w "$folder" ] && [ -r /proc/meminfo ]; then
    room_kb=$(df --output=avail -k "$folder" | tail -n 1)
    memory_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
    if [ "$room_kb" -gt "$needed_kb" ] && [ "$memory_kb" -gt $((2 * needed_kb)) ]; then
        echo "$folder"
    fi
fi
