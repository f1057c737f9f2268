#!/usr/bin/env python3
"""Results of models beside ONNX Runtime's, within the tolerance that conformance tests have.

    python3 tests/onnx_runtime.py --bin target/release/rectify [--set N=1,3] MODEL.onnx…

Needs numpy, onnx and onnxruntime. Symbolic sizes are 1 unless --set gives them; several values are tried in turn.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime


def compare(program, path, sizes):
    model = onnx.load(path, load_external_data=False)
    initial = {t.name for t in model.graph.initializer}
    random = np.random.RandomState(1)
    feeds = {}
    for port in model.graph.input:
        if port.name not in initial:
            dims = port.type.tensor_type.shape.dim
            shape = [d.dim_value or sizes.get(d.dim_param, 1) for d in dims]
            feeds[port.name] = (random.random_sample(shape) * 2 - 1).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        given = []
        for i, (name, value) in enumerate(feeds.items()):
            np.save(folder / f"in{i}.npy", value)
            given += ["--input", f"{name}={folder}/in{i}.npy"]
        np.savez(folder / "want.npz", **wanted)
        command = [program, "compare", path, "--ref", f"{folder}/want.npz", *given]
        run = subprocess.run(command, capture_output=True, text=True)
    worst = run.stdout.strip().splitlines()[-1] if run.stdout.strip() else run.stderr.strip()
    print(f"{pathlib.Path(path).name:28} {sizes or ''} {'agrees' if run.returncode == 0 else 'DIFFERS: ' + worst}")
    return run.returncode == 0


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--bin", required=True)
    args.add_argument("--set", action="append", default=[], metavar="NAME=SIZE,…")
    args.add_argument("models", nargs="+")
    args = args.parse_args()
    choices = [{}]
    for entry in args.set:
        name, values = entry.split("=")
        choices = [{**c, name: int(v)} for c in choices for v in values.split(",")]
    good = [compare(args.bin, m, c) for m in args.models for c in choices]
    print(f"{sum(good)} of {len(good)} agree")
    sys.exit(0 if all(good) else 4)


if __name__ == "__main__":
    main()
