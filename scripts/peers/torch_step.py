#!/usr/bin/env python3
"""The PyTorch peer of `lockstep bench`: fine-tuning steps of a BERT classifier on random tokens; the same JSON object at the end.

A step is forward, backward, clipping and fused AdamW in float32 with dropout 0.1, on a batch padded to its longest sequence, as
transformers users run it. `tokens` counts real tokens, padding left out. Steps are reported on standard error.
"""
import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time

from shapes import LABELS, MODELS, VOCABULARY, gigaflops, sequence_lengths


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", choices=MODELS, default="base")
    p.add_argument("--batch", type=int, default=24)
    p.add_argument("--length", type=int, default=128)
    p.add_argument("--lengths", choices=["fixed", "uniform"], default="fixed")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--ranks", type=int, default=1, help="processes with --threads each, joined by DistributedDataParallel over gloo")
    a = p.parse_args()
    if a.ranks > 1:
        sys.exit(launch(a.ranks))
    measure(a)


def launch(ranks):
    """Runs this program once for each rank; rank 0 prints the result."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [part for i, part in enumerate(sys.argv[1:]) if not part.startswith("--ranks") and sys.argv[i] != "--ranks"]
    processes = [subprocess.Popen([sys.executable, __file__, *arguments], env={
        **os.environ, "RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
        for rank in range(ranks)]
    return max(process.wait() for process in processes)


def measure(a):
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    # Before torch is imported: its libraries read them then.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(a.threads)
    import torch
    import transformers

    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    shape = MODELS[a.model]
    model = transformers.BertForSequenceClassification(transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, intermediate_size=shape.intermediate, num_labels=LABELS)).train()
    whole = model
    if ranks > 1:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=ranks)
        model = torch.nn.parallel.DistributedDataParallel(model)
    matrices = [q for q in whole.parameters() if q.ndim > 1]
    vectors = [q for q in whole.parameters() if q.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}], lr=2e-5, fused=True)

    every = sequence_lengths(a.lengths, a.batch, a.length)
    lengths = every[rank::ranks]
    longest = max(lengths)
    ids = torch.randint(1, VOCABULARY, (len(lengths), longest))
    mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
        ids[row, length:] = 0
    labels = torch.randint(0, LABELS, (len(lengths),))

    seconds = []
    for step in range(a.warmup + a.steps):
        start = time.perf_counter()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        forward = time.perf_counter()
        loss.backward()
        backward = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        end = time.perf_counter()
        print(f"step {step + 1}  {end - start:.3f} s (forward {forward - start:.3f}, backward {backward - forward:.3f}, "
              f"clipping and optimizer {end - backward:.3f})  loss {float(loss.detach()):.4f}", file=sys.stderr, flush=True)
        if step >= a.warmup:
            seconds.append(end - start)
    median, best, work = statistics.median(seconds), min(seconds), gigaflops(shape, every)
    if ranks > 1:
        torch.distributed.destroy_process_group()
    if rank > 0:
        return
    print(json.dumps({
        "program": f"torch {torch.__version__}", "model": a.model, "batch": a.batch, "length": a.length, "lengths": a.lengths,
        "threads": a.threads, "steps": a.steps, "ranks": ranks, "tokens": sum(every), "medianSeconds": median, "bestSeconds": best,
        "medianGFLOPs": work / median, "bestGFLOPs": work / best, "tokensPerSecond": sum(every) / median,
        "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
