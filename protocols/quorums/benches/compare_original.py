#!/usr/bin/env python3
"""The original package, the crate and ours on the same systems, in one run.

    python3 protocols/quorums/benches/compare_original.py [--install] [--slow]

Runs `cargo bench -p parthood-quorums -- --json`, then the same cases with the original Python package `quoracle` 0.0.4,
and prints the ratios. `--install` puts the package into a virtual environment under `target/` first. `--slow` includes the
cases on which the original takes more than about ten seconds. Optima must agree to 1e-6, or the script fails: the original
reads its solver's answers from a text file of eight digits. Of the original the processor time is taken, of the others the
least time of several runs. The last column is our time with the proof, which the others have not.
"""
import datetime
import json
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
ENVIRONMENT = ROOT / "target" / "quoracle-0.0.4"


def install():
    """Creates the environment and runs this script in it."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "-q", "install", "quoracle==0.0.4"], check=True)
    arguments = [argument for argument in sys.argv[1:] if argument != "--install"]
    sys.exit(subprocess.run([python, __file__, *arguments]).returncode)


if "--install" in sys.argv:
    install()
try:
    import quoracle
except ImportError:
    sys.exit("the original is not installed: run again with --install, or pip install quoracle==0.0.4")


def node(i):
    latency = datetime.timedelta(seconds=i * 29 % 13 + 1)
    read, write = (i * 37 % 11 + 5) * 100, (i * 53 % 7 + 3) * 50
    return quoracle.Node(f"n{i}", read_capacity=read, write_capacity=write, latency=latency)


def product(nodes):
    result = nodes[0]
    for other in nodes[1:]:
        result = result * other
    return result


def total(terms):
    result = terms[0]
    for other in terms[1:]:
        result = result + other
    return result


def grid(side):
    nodes = [node(i) for i in range(side * side)]
    return total([product(nodes[row * side:(row + 1) * side]) for row in range(side)])


def majority(n):
    return quoracle.majority([node(i) for i in range(n)])


HALF = 0.5
NINE = {i / 10: i * 7 % 5 + 1 for i in range(1, 10)}


def strategy(reads, fraction):
    system = quoracle.QuorumSystem(reads=reads)
    return lambda: system.strategy(read_fraction=fraction).load(read_fraction=fraction)


def latency(reads, load):
    system = quoracle.QuorumSystem(reads=reads)
    limited = {"optimize": "latency", "load_limit": load, "read_fraction": HALF}
    return lambda: system.strategy(**limited).latency(read_fraction=HALF).total_seconds()


def search(n, fraction, resilience=0):
    def run():
        nodes = [node(i) for i in range(n)]
        _, found = quoracle.search(nodes, read_fraction=fraction, resilience=resilience)
        return found.load(read_fraction=fraction)
    return run


CASES = {f"majority {n}": strategy(majority(n), HALF) for n in (3, 5, 7, 9, 11, 13)}
CASES |= {f"grid {side}x{side}": strategy(grid(side), HALF) for side in (3, 4, 5)}
CASES |= {f"majority {n}, 9 fractions": strategy(majority(n), NINE) for n in (9, 11)}
CASES["grid 4x4, 9 fractions"] = strategy(grid(4), NINE)
CASES["search 4 nodes, 1 fractions"] = search(4, HALF)
CASES |= {f"majority {n}, latency, load limit": latency(majority(n), 0.0013) for n in (9, 11)}
SLOW = {"search 5 nodes, 1 fractions": search(5, HALF), "search 5 nodes, 9 fractions": search(5, NINE)}
SLOW["search 5 nodes, resilience 1"] = search(5, HALF, 1)


def processor_time():
    """Of this process and the solvers it has started: what else the machine does hardly adds to it."""
    own, solvers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + solvers.ru_utime + solvers.ru_stime


def least(run):
    """The least processor time of several runs, and the value."""
    begin, best = time.perf_counter(), float("inf")
    while True:
        before = processor_time()
        value = run()
        best = min(best, processor_time() - before)
        if time.perf_counter() - begin > 1.0:
            return best, value


def main():
    bench = ["cargo", "bench", "-q", "-p", "parthood-quorums", "--bench", "quorums", "--", "--json"]
    output = subprocess.run(bench, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    cases = CASES | (SLOW if "--slow" in sys.argv else {})
    print(f"{'':34} {'original':>12} {'crate':>12} {'ours':>12} {'original/ours':>14} {'crate/ours':>11} {'with proof':>12}")
    for line in output.splitlines():
        row = json.loads(line)
        original = value = None
        if row["name"] in cases:
            original, value = least(cases[row["name"]])
            if abs(value / row["value"] - 1) > 1e-6:
                sys.exit(f"{row['name']}: the original has {value}, ours {row['value']}")
        show = lambda seconds: "-" if seconds is None else f"{seconds * 1e3:.3f} ms"
        ratio = lambda seconds: "-" if seconds is None else f"{seconds / row['seconds']:.0f}x"
        peer = row["crate_seconds"]
        print(f"{row['name']:34} {show(original):>12} {show(peer):>12} {show(row['seconds']):>12} "
              f"{ratio(original):>14} {ratio(peer):>11} {show(row['proof_seconds']):>12}")


if __name__ == "__main__":
    main()
