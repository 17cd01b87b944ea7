"""Writes the models of this folder. Needs TensorFlow 2.16 or later; the outputs are committed.

Weights are small whole numbers, so that tests can state results exactly.
"""

import os
import shutil

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

HERE = os.path.dirname(os.path.abspath(__file__))


def numbers(*shape):
    count = 1
    for n in shape:
        count *= n
    return tf.reshape(tf.range(count, dtype=tf.float32) % 5 - 2, shape)


class Dense(tf.Module):
    """Two signatures over shared variables of one label."""

    def __init__(self):
        self.w = tf.Variable(numbers(3, 2), name="v")
        self.b = tf.Variable(numbers(2), name="v")

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="x")])
    def predict(self, x):
        return {"y": tf.matmul(x, self.w) + self.b, "sum": tf.reduce_sum(x, 1)}

    @tf.function(input_signature=[tf.TensorSpec([2, 2], name="z")])
    def back(self, z):
        return {"x": tf.matmul(z - self.b, self.w, transpose_b=True)}


class Counter(tf.Module):
    """A variable that each call changes."""

    def __init__(self):
        self.total = tf.Variable(tf.zeros([4]), name="total")

    @tf.function(input_signature=[tf.TensorSpec([4], name="x")])
    def add(self, x):
        self.total.assign_add(x)
        return {"total": self.total.read_value()}


def frozen(function, name, lower):
    made = convert_variables_to_constants_v2(function, lower_control_flow=lower)
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(made.graph.as_graph_def().SerializeToString())


def saved(module, name, signatures):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    tf.saved_model.save(module, folder, signatures=signatures)
    for extra in ("fingerprint.pb", "assets"):
        path = os.path.join(folder, extra)
        shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)


@tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 2], name="image")])
def image(x):
    y = tf.nn.conv2d(x, numbers(3, 3, 2, 3), 1, "SAME")
    return tf.nn.max_pool2d(tf.nn.relu(y), 2, 2, "VALID")


@tf.function(input_signature=[tf.TensorSpec([3], name="x"), tf.TensorSpec([], tf.int32, name="n")])
def loop(x, n):
    steps = tf.TensorArray(tf.float32, size=n, element_shape=[3])
    for i in tf.range(n):
        if tf.reduce_sum(x) > 10.0:
            x = x - 1.0
        else:
            x = x * 2.0
        steps = steps.write(i, x)
    return x, steps.stack()


@tf.function(input_signature=[tf.TensorSpec([3], name="x"), tf.TensorSpec([], tf.int32, name="n")])
def search(x, n):
    i = 0
    while i < n:
        if tf.reduce_sum(x) > 20.0:
            break
        x = x * 2.0
        i += 1
    return x, i


dense = Dense()
saved(dense, "dense", {"serving_default": dense.predict, "back": dense.back})
counter = Counter()
saved(counter, "counter", {"serving_default": counter.add})
frozen(image.get_concrete_function(), "image.pb", False)
frozen(loop.get_concrete_function(), "loop.pb", False)
frozen(loop.get_concrete_function(), "loop_lowered.pb", True)
frozen(search.get_concrete_function(), "search_lowered.pb", True)
for out in (image(tf.reshape(tf.range(32, dtype=tf.float32), [1, 4, 4, 2])), *loop([1.0, 2.0, 3.0], 4)):
    print(out.numpy().ravel().tolist())
