#!/usr/bin/env python3
"""bench_models.py BENCH_MODELS MINILM_DIR SAMPLES.tsv [--threads N] [--quick]

Whole models beside what a user would pick: our engine in f32, bf16 and int8, PyTorch and
onnxruntime on the CPU, the same threads. MiniLM has its trained weights, BERT-base random
ones of the true shapes (time does not depend on them; labelled so). The programs take
turns; every sample is kept. Ratios compare medians of CPU seconds of the whole process,
which a machine shared with others still measures well.

Needs torch and transformers; onnxruntime is left out, and said so, where it is missing.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

parser = argparse.ArgumentParser()
parser.add_argument("bench")
parser.add_argument("minilm")
parser.add_argument("samples")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--quick", action="store_true", help="one sample of each")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)
warnings.filterwarnings("ignore")

try:
    import torch
    import transformers
except ImportError as error:
    sys.exit(f"skipped: {error}")
try:
    import onnxruntime
except ImportError:
    onnxruntime = None
torch.set_num_threads(args.threads)
transformers.logging.set_verbosity_error()

TYPES = ["f32", "bf16", "int8"]
BATCHES = [(1, 128), (32, 128)]


class Ours:
    def __init__(self, folder, batch, seq, dtype):
        command = [args.bench, folder, str(batch), str(seq), dtype, str(args.threads)]
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def step(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return [float(x) for x in self.child.stdout.readline().split()]

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Timed:
    """A call in this process."""

    def __init__(self, call):
        self.call = call

    def step(self):
        cpu, wall = time.process_time(), time.monotonic()
        first = self.call()
        return [time.process_time() - cpu, time.monotonic() - wall, first]

    def close(self):
        pass


def torch_arm(model, ids):
    def call():
        with torch.no_grad():
            return float(model(ids).last_hidden_state.flatten()[0])

    return Timed(call)


def onnx_arm(model, ids, folder):
    path = os.path.join(folder, "model.onnx")
    torch.onnx.export(
        model,
        (ids,),
        path,
        input_names=["ids"],
        output_names=["hidden", "pooled"],
        opset_version=14,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    feed = {"ids": ids.numpy()}
    return Timed(lambda: float(session.run(["hidden"], feed)[0].flatten()[0]))


def write_bert_base(folder):
    torch.manual_seed(1)
    model = transformers.BertModel(transformers.BertConfig()).eval()
    model.save_pretrained(folder, safe_serialization=True)
    return model


def compare(name, folder, model, batch, seq, out):
    vocab = model.config.vocab_size
    ids = (7919 * torch.arange(batch * seq) + 13) % vocab
    ids = ids.reshape(batch, seq)
    arms = {"PyTorch " + torch.__version__: torch_arm(model, ids)}
    with tempfile.TemporaryDirectory() as scratch:
        if onnxruntime:
            arms["onnxruntime " + onnxruntime.__version__] = onnx_arm(model, ids, scratch)
        for dtype in TYPES:
            arms["icd " + dtype] = Ours(folder, batch, seq, dtype)
        rounds = 1 if args.quick else 9 if batch == 1 else 3
        found = {arm: [] for arm in arms}
        for arm in arms.values():
            if batch == 1:
                arm.step()
        for turn in range(rounds):
            for arm, program in arms.items():
                sample = program.step()
                found[arm].append(sample)
                out.write(
                    f"{name}\t{batch}\t{seq}\t{args.threads}\t{arm}\t{turn}"
                    f"\t{sample[0]:.6f}\t{sample[1]:.6f}\t{sample[2]:.6g}\n"
                )
                out.flush()
        for arm in arms.values():
            arm.close()
    show(name, batch, seq, found)


def show(name, batch, seq, found):
    cpu = {arm: statistics.median(s[0] for s in rows) for arm, rows in found.items()}
    peers = {arm: t for arm, t in cpu.items() if not arm.startswith("icd")}
    best = min(peers, key=peers.get)
    first = next(iter(found.values()))[0][2]
    print(f"\n{name}, {batch} x {seq}, {args.threads} thread(s), medians of CPU seconds")
    for arm, t in cpu.items():
        tail = ""
        if arm.startswith("icd"):
            tail = f"   {peers[best] / t:.2f} x the speed of {best}"
        if arm == "icd f32":
            gap = abs(found[arm][0][2] - first)
            tail += f"   first hidden value differs by {gap:.1e}"
        print(f"  {arm:22s} {t * 1e3:10.1f} ms{tail}")
    sys.stdout.flush()


def main():
    if not onnxruntime:
        print("onnxruntime: not installed, left out")
    with open(args.samples, "w", encoding="utf-8") as out:
        out.write("model\tbatch\tseq\tthreads\tarm\tsample\tcpu_s\twall_s\tfirst\n")
        models = []
        if os.path.isdir(args.minilm):
            models.append(("MiniLM-L6 (trained)", args.minilm))
        else:
            print(f"MiniLM: {args.minilm} is not there, left out (make model)")
        with tempfile.TemporaryDirectory() as folder:
            write_bert_base(folder)
            models.append(("BERT-base (random weights)", folder))
            for name, where in models:
                model = transformers.BertModel.from_pretrained(where).eval()
                for batch, seq in BATCHES:
                    compare(name, where, model, batch, seq, out)


main()
