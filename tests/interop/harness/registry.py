"""The list of cases, and how one is run."""
import fnmatch
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Callable

from harness.lab import Lab


@dataclass
class Case:
    name: str
    run: Callable[[Lab], None]
    weight: int = 1  # seconds it is known to take, so that the long ones start first


@dataclass
class Result:
    name: str
    seconds: float
    error: str = ""
    log: str = ""


@dataclass
class Registry:
    cases: list[Case] = field(default_factory=list)

    def add(self, name, run, weight=1):
        self.cases.append(Case(name, run, weight))

    def case(self, name, weight=1):
        def wrap(run):
            self.add(name, run, weight)
            return run
        return wrap

    def select(self, patterns):
        return [c for c in self.cases if not patterns or any(fnmatch.fnmatch(c.name, f"*{p}*") for p in patterns)]


CASES = Registry()


def run_one(case, keep):
    start = time.monotonic()
    lab = Lab(case.name, keep)
    try:
        case.run(lab)
        return Result(case.name, time.monotonic() - start)
    except Exception as e:  # a case may fail in any way; the report says which
        reason = str(e) or type(e).__name__
        return Result(case.name, time.monotonic() - start, reason, traceback.format_exc() + lab.logs())
    finally:
        lab.close()


def run_all(cases, jobs, keep, report):
    """Run cases, longest first, `jobs` at a time; `report` is called as each one ends."""
    with ThreadPoolExecutor(jobs) as pool:
        ordered = sorted(cases, key=lambda c: -c.weight)
        futures = [pool.submit(run_one, c, keep) for c in ordered]
        for f in futures:
            f.add_done_callback(lambda f: report(f.result()))
        return [f.result() for f in futures]
