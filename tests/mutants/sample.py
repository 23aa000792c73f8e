#!/usr/bin/env python3
"""Wrong variants of keel-risk, keel-execution and keel-store, made by cargo-mutants, a random sample of them, each tested.

cargo-mutants names every variant and says how it changes the source. The sample is drawn from that list by a seed: the
names (without lines) are ordered by the hash of seed and name, the first COUNT are taken. Building each variant alone costs a build of the
crate and its tests for each; so they are built together instead: each function that has variants gets them as branches
behind a switch (the environment variable KEEL_VARIANT), and one set of test programs serves them all. What cannot be built
together (constants, variants that do not compile) is handed to cargo-mutants itself, alone.

    python3 tests/mutants/sample.py                     # the sample of BENCHMARKS.md
    python3 tests/mutants/sample.py --seed 2 --count 50 # another one
    python3 tests/mutants/sample.py --alone             # the same sample by cargo-mutants only (hours)

Needs cargo-mutants (`cargo install cargo-mutants`). Works on a copy of what is committed, in target/mutants. Writes one line
for each variant and a table; exit status 1 when less than 90 % are caught.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ["keel-risk", "keel-execution", "keel-store"]
# Functions that only make texts for people; a wrong text is no wrong order.
EXCLUDED = r"impl (std::)?(fmt::)?(Display|Debug)|::expecting"
# Long tests; they are asked only when the others have noticed nothing.
LONG = ["every_byte", "random_damage", "many_threads_append"]
CAUGHT_MIN_PERCENT = 90
SWITCH = """
#[doc(hidden)]
pub(crate) mod variant_switch {
    //! Which variant is on.
    pub(crate) fn on(variant: u32) -> bool {
        static VARIANT: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| {
            std::env::var("KEEL_VARIANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
        });
        *VARIANT == variant
    }
}
"""


def run(args, cwd, **more):
    return subprocess.run(args, cwd=cwd, text=True, capture_output=True, check=False, **more)


def draw(tree, seed, count):
    """The sample, in the order of drawing."""
    args = ["cargo", "mutants", "--list", "--json", "--exclude-re", EXCLUDED]
    for package in PACKAGES:
        args += ["-p", package]
    listed = run(args, tree)
    if listed.returncode != 0:
        sys.exit(f"cargo mutants --list failed: {listed.stderr}\nRemedy: cargo install cargo-mutants")
    mutants = json.loads(listed.stdout)
    seen = collections.Counter()
    for mutant in mutants:  # Lines and columns are left out, so that a sample outlives edits elsewhere in the file.
        name = re.sub(r":\d+:\d+:", ":", mutant["name"])
        seen[name] += 1
        mutant["draw"] = hashlib.sha256(f"{seed}:{name}:{seen[name]}".encode()).hexdigest()
    mutants.sort(key=lambda mutant: mutant["draw"])
    total = len(mutants)
    for number, mutant in enumerate(mutants[:count], 1):
        mutant["number"] = number
    return mutants[:count], total


def offset(starts, place):
    return starts[place["line"] - 1] + place["column"] - 1


def body_of(text, start, end):
    """Where the body of the function between start and end begins (at its brace), and where its `fn` stands."""
    at = start
    while True:  # skip comments and attributes
        found = re.compile(r"\s*(//[^\n]*\n|#\[)").match(text, at)
        if not found:
            break
        at = found.end()
        if found.group(1) == "#[":
            depth = 1
            while depth:
                depth += {"[": 1, "]": -1}.get(text[at], 0)
                at += 1
    head = re.compile(r"\bfn\s").search(text, at)
    brace = text.index("{", head.start())
    return brace, at


def switch_in(tree, source, mutants, stripped):
    """Puts the variants of one file behind the switch; answers which lines belong to which variant."""
    path = tree / source
    text = path.read_text()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    functions = collections.defaultdict(list)
    for mutant in mutants:
        span = mutant["function"]["span"]
        functions[(offset(starts, span["start"]), offset(starts, span["end"]))].append(mutant)
    for inner in list(functions):  # A function within another one is changed in the copies of the outer one.
        for outer in list(functions):
            if outer != inner and outer[0] <= inner[0] and inner[1] <= outer[1] and inner in functions:
                functions[outer] += functions.pop(inner)
    pieces, at, marks = [], 0, []
    for (start, end), group in sorted(functions.items()):
        brace, head = body_of(text, start, end)
        opening = text[head:brace]
        if re.search(r"\bconst\s+fn\b", opening):
            stripped[group[0]["function"]["function_name"].split("::")[-1]] += [m["number"] for m in group]
            opening = re.sub(r"\bconst\s+fn\b", "fn", opening)
        body = text[brace:end]
        pieces.append(text[at:head] + opening + "{")
        for mutant in group:
            low, high = offset(starts, mutant["span"]["start"]) - brace, offset(starts, mutant["span"]["end"]) - brace
            pieces.append(f"if crate::variant_switch::on({mutant['number']}) ")
            first = "".join(pieces).count("\n") + 1
            pieces.append(body[:low] + mutant["replacement"] + body[high:] + " else ")
            marks.append((first, "".join(pieces).count("\n") + 1, mutant["number"]))
        pieces.append(body + "}")
        at = end
    pieces.append(text[at:])
    path.write_text("".join(pieces))
    return marks


def build(tree, what, packages, env):
    args = ["cargo", *what, "--keep-going", "--message-format", "json"]
    for package in packages:
        args += ["-p", package]
    done = run(args, tree, env=env)
    errors, programs = [], {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-message" and message["message"]["level"] == "error":
            errors.append(message["message"])
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            name = re.sub(r".*/|[#@].*", "", message["package_id"].replace("#", "@", 1).split("@")[0])
            programs.setdefault(f"keel-{name}", []).append((message["executable"], os.path.dirname(message["manifest_path"])))
    return done, errors, programs


def build_together(tree, sample, packages, env):
    """Builds what can be built together; answers the test programs and the numbers of what must be built alone."""
    alone = {m["number"] for m in sample if not m["function"] or "impl " in m["function"]["return_type"]}
    while True:
        restored = run(["git", "checkout", "-q", "--", "crates"], tree)
        assert restored.returncode == 0, restored.stderr
        files, marks, stripped = collections.defaultdict(list), {}, collections.defaultdict(list)
        for mutant in sample:
            if mutant["number"] not in alone:
                files[mutant["file"]].append(mutant)
        for source, mutants in files.items():
            marks[source] = switch_in(tree, source, mutants, stripped)
        for package in PACKAGES:
            root = tree / "crates" / package.removeprefix("keel-") / "src" / "lib.rs"
            root.write_text(root.read_text() + SWITCH)
        done, errors, programs = build(tree, ["build", "--lib"], PACKAGES, env)
        if done.returncode == 0:
            done, errors, programs = build(tree, ["build", "--tests"], packages, env)
        if done.returncode == 0:
            return programs, alone
        before = len(alone)
        for error in errors:
            for span in error["spans"]:
                for first, last, number in marks.get(span["file_name"], []):
                    if span["is_primary"] and first <= span["line_start"] <= last:
                        alone.add(number)
            if error.get("code") and error["code"]["code"] == "E0015":
                for name in re.findall(r"`([^`]+)`", error["message"]):
                    alone.update(stripped.get(name.split("::")[-1], []))
        print(f"{len(alone)} of {len(sample)} are to be built alone", flush=True)
        if len(alone) == before:
            sys.exit("cannot build together:\n" + "\n".join(e["rendered"] for e in errors) + done.stderr[-2000:])


def judge(number, programs, env, timeout_s):
    env = dict(env, KEEL_VARIANT=str(number))
    skips = [word for long in LONG for word in ("--skip", long)]
    for chosen in (skips, LONG):
        for program, folder in programs:
            try:
                here = dict(env, CARGO_MANIFEST_DIR=folder)
                done = run(["nice", program, "-q", *chosen], folder, env=here, timeout=timeout_s, errors="replace")
            except subprocess.TimeoutExpired:
                return "timeout", ""
            if done.returncode != 0:
                failed = re.findall(r"^    (\w+(?:::\w+)+)$", done.stdout, re.M)
                if failed:  # A test that fails once under load has noticed nothing: it has to fail again, alone.
                    again = ["nice", program, "-q", "--exact", *sorted(set(failed))]
                    try:
                        if run(again, folder, env=here, timeout=timeout_s, errors="replace").returncode == 0:
                            continue
                    except subprocess.TimeoutExpired:
                        return "timeout", failed[0]
                return "caught", failed[0] if failed else f"status {done.returncode}"
    return "missed", ""


def judge_alone(tree, mutants, env, timeout_s):
    """What cargo-mutants itself says."""
    run(["git", "checkout", "-q", "--", "crates"], tree)
    config = tree / "target-alone.toml"
    config.write_text("examine_re = " + json.dumps([f"^{re.escape(m['name'])}$".replace("\\ ", " ") for m in mutants]))
    args = ["cargo", "mutants", "--in-place", "--config", config.name, "--timeout", str(timeout_s), "--baseline", "skip",
            "--cargo-arg=--tests", "--output", "target-alone", "--build-timeout", "600"]
    for package in PACKAGES:
        args += ["-p", package]
    done = run(args, tree, env=env)
    said, folder = {}, tree / "target-alone" / "mutants.out"
    for word in ("caught", "missed", "timeout", "unviable"):
        for name in (folder / f"{word}.txt").read_text().splitlines():
            said[name] = word
    unsaid = [m["name"] for m in mutants if m["name"] not in said]
    if unsaid:
        sys.exit(f"cargo-mutants said nothing of {unsaid}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {mutant["number"]: said[mutant["name"]] for mutant in mutants}


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--count", type=int, default=240)
    asked.add_argument("--jobs", type=int, default=2)
    asked.add_argument("--timeout-s", type=int, default=120)
    asked.add_argument("--alone", action="store_true", help="let cargo-mutants build each variant")
    asked.add_argument("--second", action="append", default=[], help="package whose tests get what the own tests missed")
    asked.add_argument("--only", type=int, nargs="*", help="only these numbers of the sample")
    asked.add_argument("--tree", type=pathlib.Path, default=ROOT / "target" / "mutants" / "tree")
    asked = asked.parse_args()
    tree = asked.tree
    if tree.exists():
        pulled = run(["git", "pull", "-q", "--ff-only"], tree) if run(["git", "checkout", "-q", "--", "crates"], tree) else None
        assert pulled and pulled.returncode == 0, pulled
    else:
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
    env = dict(os.environ, CARGO_PROFILE_DEV_DEBUG="0", PROPTEST_MAX_SHRINK_ITERS="0")
    # Never one that is shared with the checkout: cargo takes a changed copy of a package there for the package itself.
    env["CARGO_TARGET_DIR"] = str(tree.parent / "build")
    sample, total = draw(tree, asked.seed, asked.count)
    if asked.only:
        sample = [mutant for mutant in sample if mutant["number"] in asked.only]
    said, by = {}, {}
    alone = {mutant["number"] for mutant in sample}
    if not asked.alone:
        programs, alone = build_together(tree, sample, PACKAGES + asked.second, env)
        for package in PACKAGES:
            assert programs.get(package), f"no test programs of {package}: {programs}"
        seconds = [program for package in asked.second for program in programs[package]]
        for package in PACKAGES:
            verdict, failed = judge(0, programs[package], env, asked.timeout_s)
            assert verdict == "missed", f"the tests of {package} fail without any variant: {failed}"

        def one(mutant):
            verdict = judge(mutant["number"], programs[mutant["package"]], env, asked.timeout_s)
            if verdict[0] == "missed" and seconds:
                verdict = judge(mutant["number"], seconds, env, asked.timeout_s)
            return mutant, verdict

        with concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
            for mutant, (verdict, failed) in pool.map(one, [m for m in sample if m["number"] not in alone]):
                said[mutant["number"]] = verdict
                print(f"{mutant['number']:4} {verdict:8} {mutant['name']}  {failed}", flush=True)
    if alone:
        rest = [mutant for mutant in sample if mutant["number"] in alone]
        for number, verdict in judge_alone(tree, rest, env, asked.timeout_s).items():
            said[number] = verdict
        for mutant in rest:
            print(f"{mutant['number']:4} {said[mutant['number']]:8} {mutant['name']}  (alone)", flush=True)

    print(f"\n{len(sample)} of {total} variants, seed {asked.seed}\n")
    words = ["caught", "timeout", "missed", "unviable"]
    print("| package | " + " | ".join(words) + " | caught of viable |\n|---|---|---|---|---|---|")
    low = False
    for package in [*PACKAGES, "all"]:
        counts = collections.Counter(said[m["number"]] for m in sample if package in (m["package"], "all"))
        noticed = counts["caught"] + counts["timeout"]
        viable = max(noticed + counts["missed"], 1)
        low = noticed * 100 < CAUGHT_MIN_PERCENT * viable
        print(f"| {package} | " + " | ".join(str(counts[w]) for w in words) + f" | {noticed} of {viable} ({noticed * 100 / viable:.1f} %) |")
    sys.exit(1 if low else 0)


if __name__ == "__main__":
    main()
