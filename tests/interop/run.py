#!/usr/bin/env python3
"""Runs our program against the clients that people use, on this machine's loopback only.

  run.py --samara PATH [--jobs N] [--keep] [PATTERN..]    cases whose name contains a pattern (globs allowed)
  run.py --self-check                                     the stock clients among themselves
  run.py --samara PATH --long --jobs 1 swarm              crowds with larger files; prints how long they took
  run.py --list

Needs Python, the libtorrent binding, the clients in PATH, and in INTEROP_NODE a folder with npm's `webtorrent`, which brings `bittorrent-tracker`. Ends with the line `N passed, N failed`.
"""
import argparse
import os
import shutil
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cases import crash, dhtnet, discovery, hostile, metadata, private, signalling, swarm, trackers, transfer  # noqa: E402
from harness.data import Samples  # noqa: E402
from harness.registry import CASES, run_all  # noqa: E402

PROGRAMS = ("transmission-daemon", "transmission-show", "aria2c", "qbittorrent-nox", "chromium", "node",
            "opentracker")


def arguments():
    p = argparse.ArgumentParser(description="Interoperability tests")
    p.add_argument("patterns", nargs="*")
    p.add_argument("--samara", type=Path, help="the binary under test")
    p.add_argument("--self-check", action="store_true")
    p.add_argument("--list", action="store_true")
    p.add_argument("--long", action="store_true", help="swarms of the length that the documentation tells of, one by one")
    p.add_argument("--keep", action="store_true", help="leave the temporary folders")
    p.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    return p.parse_args()


def register(args, samples):
    if args.self_check:
        transfer.register_self_check(samples)
        metadata.register_self_check()
        hostile.register_self_check(samples)
        discovery.register_self_check(samples)
        return
    transfer.register(samples)
    metadata.register()
    hostile.register(samples)
    crash.register()
    swarm.register(args.long)
    discovery.register(samples)
    dhtnet.register(samples)
    private.register(samples)
    signalling.register(samples)
    trackers.register(samples)


def report(lock):
    def one(result):
        with lock:
            if result.error:
                print(f"FAIL {result.name} ({result.seconds:.1f} s): {result.error}\n{result.log}", flush=True)
            else:
                print(f"ok   {result.name} ({result.seconds:.1f} s)", flush=True)
    return one


def main():
    args = arguments()
    missing = [p for p in PROGRAMS if not shutil.which(p)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}")
    if args.samara:
        os.environ["SAMARA"] = str(args.samara.resolve(strict=True))
    elif not args.self_check and not args.list:
        sys.exit("--samara PATH is needed")
    samples = Samples()
    try:
        register(args, samples)
        cases = CASES.select(args.patterns)
        if args.list:
            print("\n".join(c.name for c in cases))
            return 0
        start = time.monotonic()
        results = run_all(cases, args.jobs, args.keep, report(threading.Lock()))
    finally:
        samples.remove()
    failed = [r for r in results if r.error]
    print(f"\nin {time.monotonic() - start:.0f} s; failed: {', '.join(r.name for r in failed) or 'none'}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
