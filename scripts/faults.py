#!/usr/bin/env python3
"""Draws faults from a seed, runs real jobs under mpirun, and checks how each of them ends. See --help.

Each job must end within its time, with a status other than 0, with one message that names the right rank (and operator and
phase where they are known), with no process left and no half-written result. Some jobs have no fault, or one that passes
(a rank that is stopped for a while): they must finish as if nothing had been.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OPERATORS = 8  # of the demo
LIMITS = {"operator_s": 3, "build_s": 3, "load_s": 3, "open_s": 3, "iteration_s": 3, "write_s": 3, "silence_s": 4}
# A phase in which a rank hangs, and the operator calls that a job of conjugate gradients makes.
PHASES = ["open", "build", "load", "solve", "write"]
CALLS = {"forward": 2, "adjoint": 1, "normal": 15}
# What a rank can be made to do to itself, how often it is drawn, and what is to be said of it.
INSIDE = {
    "fault": (2, "a fault on purpose"),
    "panic": (3, "panic"),
    "hang": (5, "limits."),
    "abort": (2, "ended without a word"),
    "exit": (2, "ended without a word"),
    "crash": (2, "ended without a word"),
    "memory": (2, "ended without a word"),
    "kill": (4, "ended without a word"),
    "stop": (4, "no sign of life"),
    "launcher": (1, "lost its launcher"),
}
# What is done to a job from outside.
OUTSIDE = {
    "kill from outside": (4, "ended without a word"),
    "stop from outside": (3, "no sign of life"),
    "launcher killed": (3, "lost its launcher"),
    "full disk": (2, "make room on the disk"),
    "stopped for a while": (1, None),
    "nothing": (1, None),
}


class Case:
    """One job and what is to come of it."""

    def __init__(self, draw, ranks, kinds, owners):
        self.ranks = draw.choice(ranks)
        self.rank = draw.randrange(self.ranks)
        self.kind = draw.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        self.says = kinds[self.kind][1]
        self.operator = self.phase = self.inject = None
        self.delay = draw.uniform(0.0, 1.5)  # of what is done from outside, after the first iteration
        self.room = draw.choice([8, 24, 48, 76])  # kB of a disk that is full
        self.form = draw.choice(["text", "text", "text", "json"])
        self.sets = [f"run.reduction={draw.choice(['auto', 'shared', 'messages'])}"]
        self.sets += [f"run.summation={draw.choice(['fast', 'ordered'])}"]
        if self.kind in INSIDE:
            in_operator = self.kind == "fault" or draw.random() < 0.6
            if in_operator:
                self.operator = draw.choice([k for k in range(OPERATORS) if owners[self.ranks][k] == self.rank])
                self.phase = draw.choice(list(CALLS))
                call = draw.randint(1, CALLS[self.phase])
                place = f"operator={self.operator},phase={self.phase}"
            else:
                self.phase = draw.choice(PHASES)
                call = draw.randint(1, 15) if self.phase == "solve" else 1
                place = f"phase={self.phase}"
            self.inject = f"rank={self.rank},{place},call={call},kind={self.kind}"

    def __str__(self):
        return f"{self.ranks} ranks, {self.inject or f'rank {self.rank}, {self.kind}'}, {self.form}, {' '.join(self.sets)}"

    def passes(self):
        return self.says is None


def processes(binary, mark):
    """The processes of a job: number → rank."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.path.realpath(f"/proc/{name}/exe") != binary:
                continue
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if mark.encode() not in file.read():
                    continue
            with open(f"/proc/{name}/environ", "rb") as file:
                names = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
            found[int(name)] = int(names.get(b"OMPI_COMM_WORLD_RANK", names.get(b"PMI_RANK", b"0")))
        except OSError:
            continue  # it has just gone
    return found


def launch(options, ranks, arguments, environment, log):
    setting = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", RUST_BACKTRACE="0")
    setting.update(OMPI_MCA_mpi_yield_when_idle="1", OPENBLAS_NUM_THREADS="1", **environment)
    mpirun = [options.mpirun, "--oversubscribe", "--bind-to", "none", "-n", str(ranks), options.binary]
    return subprocess.Popen(mpirun + arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=setting)


def owners_of(options, ranks):
    """Which rank has which operator: from the report of a job that nothing happens to."""
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w") as log:
        out = f"{folder}/out"
        job = launch(options, ranks, ["demo", "--out", out, "--set", "solve.method.max_iter=2"], {}, log)
        if job.wait(timeout=120) != 0:
            with open(f"{folder}/log") as text:
                sys.exit(f"the job without a fault failed on {ranks} ranks:\n{text.read()}")
        with open(f"{out}/report.json") as file:
            return json.load(file)["owners"]


def whole_npy(path):
    """Whether an npy file has as many bytes as its header says."""
    with open(path, "rb") as file:
        content = file.read()
    if content[:6] != b"\x93NUMPY":
        return False
    (header,) = struct.unpack("<H", content[8:10])
    text = content[10 : 10 + header].decode()
    shape = [int(size) for size in re.search(r"\(([^)]*)\)", text).group(1).split(",") if size.strip()]
    size = int(re.search(r"'descr': '[<|=]?\w(\d+)'", text).group(1))
    for length in shape:
        size *= length
    return len(content) == 10 + header + size


def stories(text):
    """What the user was told went wrong."""
    told = []
    for line in text.splitlines():
        if line.startswith("error:"):
            told.append(line)
        elif line.startswith("{") and '"ERROR"' in line:
            entry = json.loads(line)
            phase = f"{entry['phase']}: " if entry.get("phase") else ""
            operator = f"operator {entry['operator']}: " if entry.get("operator") is not None else ""
            rank = "" if "rank " in entry["text"] else f" (on rank {entry.get('rank')} of"
            told.append(f"error: {phase}{operator}{entry['text']}{rank}")
    return told


def run(options, case, folder):
    """Runs a job; returns how long it took and what is wrong with how it ended."""
    wrong = []
    out = f"{folder}/out"
    full = case.kind == "full disk"
    if full:
        os.mkdir(out)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={case.room}k", "tmpfs", out], check=True)
    try:
        return run_in(options, case, folder, out, wrong)
    finally:
        if full:
            subprocess.run(["umount", "-l", out], check=False)


def run_in(options, case, folder, out, wrong):
    outside = case.kind in OUTSIDE and case.kind not in ("full disk", "nothing")
    arguments = ["demo", "--out", out, "--log", case.form, "--set", f"solve.method.max_iter={10**6 if outside else 20}"]
    if case.kind == "stopped for a while":
        arguments += ["--set", "solve.wall_time_s=8"]
    for setting in case.sets + [f"limits.{key}={limit}" for key, limit in LIMITS.items()]:
        arguments += ["--set", setting]
    path = f"{folder}/log"
    begin = time.monotonic()
    with open(path, "w") as log:
        job = launch(options, case.ranks, arguments, {"STACKPHYS_INJECT": case.inject} if case.inject else {}, log)
    if outside:
        while job.poll() is None and time.monotonic() - begin < 60:
            with open(path) as log:
                if "iteration" in log.read():
                    break
            time.sleep(0.05)
        time.sleep(case.delay)
        pids = {rank: pid for pid, rank in processes(options.binary, out).items()}
        begin = time.monotonic()
        if case.kind == "launcher killed":
            job.kill()
        elif case.rank not in pids:
            wrong.append(f"rank {case.rank} is not there")
        elif case.kind == "kill from outside":
            os.kill(pids[case.rank], signal.SIGKILL)
        else:
            os.kill(pids[case.rank], signal.SIGSTOP)
            if case.kind == "stopped for a while":
                time.sleep(2.5)
                os.kill(pids[case.rank], signal.SIGCONT)
    longest = max(LIMITS.values()) + options.slack
    try:
        status = job.wait(timeout=longest + (20 if case.passes() else 0))
    except subprocess.TimeoutExpired:
        wrong.append(f"it still runs after {longest} s")
        status = None
    # ranks without a launcher end by themselves
    while processes(options.binary, out) and time.monotonic() - begin < longest:
        time.sleep(0.1)
    took = time.monotonic() - begin
    left = processes(options.binary, out)
    if left:
        wrong.append(f"processes left: ranks {sorted(left.values())}")
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        job.kill()
        job.wait()
    with open(path) as log:
        text = log.read()
    told = stories(text)
    if os.path.exists(f"{out}/ended.txt"):
        with open(f"{out}/ended.txt") as file:
            told += stories(file.read())
    check_end(case, status, told, wrong, os.path.exists(f"{out}/report.json"))
    check_files(case, out, wrong)
    return took, wrong, text


def check_end(case, status, told, wrong, finished):
    if case.passes():
        if status != 0 or told:
            wrong.append(f"it ended with status {status}, and {told}")
        return
    if status == 0:
        wrong.append("its status is 0")
    if case.says == "lost its launcher" and finished and not told:
        return  # ranks that have only the results to write may be done before they notice
    if len(told) != 1:
        wrong.append(f"{len(told)} messages: {told}")
        return
    story = told[0]
    expected = [case.says]
    if case.kind == "full disk":
        expected = ["cannot write"]
    elif case.says != "lost its launcher":
        expected.append(f"rank {case.rank} o")  # "on host", "of N"
    # where it happened is known of what the process itself or its watch tells
    if case.kind in ("fault", "hang") and case.phase:
        expected.append(f"error: {case.phase}: " + (f"operator {case.operator}: " if case.operator is not None else ""))
    wrong += [f"not said: “{text}” in “{story}”" for text in expected if text not in story]


def check_files(case, out, wrong):
    names = os.listdir(out) if os.path.isdir(out) else []
    if "x.npy" in names and not whole_npy(f"{out}/x.npy"):
        wrong.append("x.npy is half-written")
    if "report.json" in names:
        try:
            with open(f"{out}/report.json") as file:
                json.load(file)
        except ValueError:
            wrong.append("report.json is half-written")
    if case.passes() and "report.json" not in names:
        wrong.append("there is no result")
    # what the process could not clear away itself, the next run does
    sudden = ("kill", "abort", "exit", "crash", "memory", "launcher", "stop")  # a stopped one is killed in the end
    if (case.passes() or not case.kind.startswith(sudden)) and any(name.startswith(".stackphys-") for name in names):
        wrong.append(f"left in the folder: {names}")


def main():
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--seed", type=int, default=1, help="where the draw starts; the same seed gives the same faults")
    reader.add_argument("--count", type=int, default=20, help="how many jobs")
    reader.add_argument("--ranks", default="2,3,4", help="numbers of ranks to draw from")
    reader.add_argument("--kinds", help="only kinds of faults with one of these words in them, separated by commas")
    reader.add_argument("--slack", type=float, default=15, help="seconds beyond the longest limit in which a job must end")
    reader.add_argument("--mpirun", default="mpirun")
    reader.add_argument("--binary", default=os.environ.get("STACKPHYS_BIN", f"{ROOT}/target/release/stackphys"))
    reader.add_argument("--verbose", action="store_true", help="show what each job said")
    options = reader.parse_args()
    options.binary = os.path.realpath(options.binary)
    if not os.path.exists(options.binary):
        sys.exit(f"no program at {options.binary}: build it, or name another with --binary")
    ranks = [int(number) for number in options.ranks.split(",")]
    kinds = {**INSIDE, **OUTSIDE}
    if os.geteuid() != 0:
        del kinds["full disk"]  # a small disk is mounted by root
    if options.kinds:
        words = options.kinds.split(",")
        kinds = {kind: of for kind, of in kinds.items() if any(word in kind for word in words)}
    owners = {count: owners_of(options, count) for count in ranks}
    draw = random.Random(options.seed)
    cases = [Case(draw, ranks, kinds, owners) for _ in range(options.count)]
    failed, times = 0, {}
    for number, case in enumerate(cases):
        folder = tempfile.mkdtemp(prefix="stackphys-faults-")
        took, wrong, text = run(options, case, folder)
        times.setdefault(case.kind, []).append(took)
        print(f"{'FAIL' if wrong else 'ok  '} {number:4} {took:6.1f} s  {case}", flush=True)
        for line in wrong:
            print(f"        {line}")
        if wrong or options.verbose:
            print("".join(f"        | {line}\n" for line in text.splitlines()), end="")
        failed += bool(wrong)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{'kind':24} jobs   seconds to the end: mean, longest")
    for kind, seconds in sorted(times.items()):
        print(f"{kind:24} {len(seconds):4}   {sum(seconds) / len(seconds):6.1f} {max(seconds):6.1f}")
    print(f"\n{len(cases) - failed} of {len(cases)} ended as they must (seed {options.seed})")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
