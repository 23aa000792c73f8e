"""One JSON line for each run: what was run, its CPU seconds and its answer."""
import json
import resource


def emit(engine, version, rows, cpu_s, **answer):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"engine": engine, "version": version, "rows": rows, "cpu_s": cpu_s, "peak_mib": round(peak), "answer": answer}), flush=True)
