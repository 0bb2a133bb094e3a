# Measures CPython's gc.collect(): builds the structures of `Scene::build`, gives half of them up, and collects. Prints a `Sample`.
#
# python3 -c THIS SHAPE OBJECTS HANDLES

import gc
import json
import os
import sys
import time


class Node:
    __slots__ = ("value", "first", "second", "__weakref__")

    def __init__(self, value):
        self.value = value
        self.first = None
        self.second = None


def build(shape, objects):
    sizes = {"pairs": 2, "rings": 100, "list": objects}
    live_heads, dead_heads = [], []
    left = objects
    while left > 0:
        size = min(sizes[shape], left)
        left -= size
        live, dead = [], []
        for number in range(size):
            live.append(Node(number))
            dead.append(Node(number))
        if shape == "rings":
            for dying, living in zip(dead, live):
                dying.second = living
        for nodes, heads in ((live, live_heads), (dead, dead_heads)):
            for one, next in zip(nodes, nodes[1:]):
                one.first = next
                if shape == "list":
                    next.second = one
            if shape != "list" and size > 1:
                nodes[-1].first = nodes[0]
            heads.append(nodes[0])
    return live_heads, dead_heads


def resident(field):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) / 1024


class Stopwatch:
    def __init__(self):
        self.longest = self.longest_cpu = self.total = self.total_cpu = 0
        self.steps = 0

    def step(self, call):
        cpu = time.thread_time_ns()
        wall = time.perf_counter_ns()
        result = call()
        wall = time.perf_counter_ns() - wall
        cpu = time.thread_time_ns() - cpu
        self.longest = max(self.longest, wall)
        self.longest_cpu = max(self.longest_cpu, cpu)
        self.total += wall
        self.total_cpu += cpu
        self.steps += 1
        return result


def main():
    shape, objects, handles = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # It is measured what a collection takes, not when there is one.
    gc.disable()
    live, dead = build(shape, objects)
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
        forgotten = True
    except OSError:
        forgotten = False
    start = resident("VmRSS:")
    watch = Stopwatch()

    def give_up():
        del dead[-handles:]

    while dead:
        watch.step(give_up)
    found = watch.step(gc.collect)
    if found != objects:
        sys.exit(f"{found} objects were reclaimed of {objects}")
    assert live
    print(
        json.dumps(
            {
                "longest_ms": watch.longest / 1e6,
                "longest_cpu_ms": watch.longest_cpu / 1e6,
                "longest_units": None,
                "total_ms": watch.total / 1e6,
                "total_cpu_ms": watch.total_cpu / 1e6,
                "steps": watch.steps,
                "resident_mib": start,
                "peak_resident_mib": resident("VmHWM:") if forgotten else None,
                "counted_mib": None,
                "peak_counted_mib": None,
            }
        )
    )
    # Taking down the interpreter is not what is measured.
    sys.stdout.flush()
    os._exit(0)


main()
