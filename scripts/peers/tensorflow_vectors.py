#!/usr/bin/env python3
"""usage: tensorflow_vectors.py FOLDER INPUTS VECTORS: BERT in TensorFlow operations on a checkpoint against `lockstep embed`."""
import json
import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import tensorflow as tf

from vectors import compare

folder, inputs, outputs = sys.argv[1:]
prefix = tf.train.latest_checkpoint(folder)
if prefix is None:
    sys.exit(f"{folder}: TensorFlow finds no checkpoint there")
reader = tf.train.load_checkpoint(prefix)
names = reader.get_variable_to_shape_map()
values = {name: reader.get_tensor(name) for name in names}
config = json.loads((pathlib.Path(folder) / "bert_config.json").read_text())
heads, epsilon = config["num_attention_heads"], config.get("layer_norm_eps", 1e-12)


def dense(x, name):
    return x @ values[f"{name}/kernel"] + values[f"{name}/bias"]


def norm(x, name):
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + epsilon) * values[f"{name}/gamma"] + values[f"{name}/beta"]


def split(x):
    """[S, H] as [N, S, D]."""
    return tf.transpose(tf.reshape(x, [x.shape[0], heads, -1]), [1, 0, 2])


def forward(ids, segments):
    table = "bert/embeddings/"
    x = (tf.gather(values[table + "word_embeddings"], ids) + values[table + "position_embeddings"][:len(ids)]
         + tf.gather(values[table + "token_type_embeddings"], segments))
    x = norm(x, table + "LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        at = f"bert/encoder/layer_{layer}/"
        q, k, v = (split(dense(x, f"{at}attention/self/{part}")) for part in ("query", "key", "value"))
        scores = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / q.shape[-1] ** 0.5)
        context = tf.reshape(tf.transpose(tf.matmul(scores, v), [1, 0, 2]), [len(ids), -1])
        x = norm(x + dense(context, at + "attention/output/dense"), at + "attention/output/LayerNorm")
        inner = tf.nn.gelu(dense(x, at + "intermediate/dense"), approximate=False)
        x = norm(x + dense(inner, at + "output/dense"), at + "output/LayerNorm")
    return x.numpy()


compare(f"TensorFlow {tf.__version__}", f"{folder} ({len(names)} variables)", inputs, outputs, forward)
