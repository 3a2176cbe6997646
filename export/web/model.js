"use strict";
// Run the bundle's .tflite in LiteRT.js and interpret its output.

const TINY = 1.17549435e-38; // what a probability of zero counts as
const KNOWN_MANIFEST = 1;
const RUNNABLE = ["tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic", "tflite-mixed"];

/** An error with a sentence for the user; any other exception is a bug in the page. */
class Problem extends Error {}

let runtime; // a promise, once asked for

/** Start LiteRT.js with its unpacked WebAssembly, once. Throws a Problem if the browser lacks WebAssembly. */
function startRuntime(files) {
  runtime ??= (async () => {
    if (typeof WebAssembly !== "object" || typeof DecompressionStream !== "function") throw new Problem(say("noWasm"));
    const wasmBinary = await files.wasm();
    self.Module = { wasmBinary, printErr: (line) => console.debug(line) };
    const { warn } = console;
    console.warn = console.debug; // LiteRT.js warns that it has no GPU, which this page does not use
    try {
      await LiteRT.loadLiteRt("");
    } catch (error) {
      console.debug(error);
      throw new Problem(say("noWasm"));
    } finally {
      console.warn = warn;
    }
  })();
  return runtime;
}

/** Return the artifacts that a browser can run, best first. Throws a Problem if there are none. */
function runnable(manifest) {
  if (manifest.manifest_version > KNOWN_MANIFEST)
    throw new Problem(say("future", { found: manifest.manifest_version, known: KNOWN_MANIFEST }));
  const found = RUNNABLE.map((name) => manifest.artifacts.find((one) => one.variant === name)).filter(Boolean);
  if (!found.length) throw new Problem(say("noModel"));
  return found;
}

/** Check the SHA-256 of bytes; true also where the browser cannot compute it. */
async function isWhole(bytes, sha256) {
  return !self.crypto?.subtle || (await hash(bytes)) === sha256;
}

async function hash(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (one) => one.toString(16).padStart(2, "0")).join("");
}

/** An opened artifact. `run` gives Float32Array[classes] for RGB bytes[height * width * 3], one call after the other. */
class Model {
  static async open(files, artifact, manifest) {
    const bytes = await files.model(artifact);
    if (!(await isWhole(bytes, artifact.sha256))) throw new Problem(say("damagedModel"));
    await startRuntime(files);
    try {
      return new Model(await LiteRT.loadAndCompile(bytes, { accelerator: "wasm" }), artifact, manifest);
    } catch (error) {
      console.debug(error);
      throw new Problem(say("damagedModel"));
    }
  }

  constructor(compiled, artifact, manifest) {
    this.compiled = compiled;
    this.artifact = artifact;
    this.shape = [1, manifest.input.height, manifest.input.width, 3];
    this.last = Promise.resolve();
  }

  run(pixels) {
    const answer = this.last.then(() => this.#invoke(pixels));
    this.last = answer.catch(() => undefined);
    return answer;
  }

  async #invoke(pixels) {
    const input = new LiteRT.Tensor(pixels, this.shape);
    const [output] = await this.compiled.run([input]);
    const found = output.toTypedArray();
    input.delete(); // LiteRT.js frees nothing by itself
    output.delete();
    const { output_scale: scale, output_zero_point: zero } = this.artifact;
    return found instanceof Float32Array ? found : Float32Array.from(found, (value) => dequantize(value, scale, zero));
  }

  close() {
    this.compiled.delete();
  }
}

/** Return the real value of an integer output: scale * (value - zero point), as float32. */
function dequantize(value, scale, zeroPoint) {
  return Math.fround(scale * (value - zeroPoint));
}

/** Return the indices of the `count` most probable classes, best first; ties by label order. */
function ranked(probabilities, count) {
  const order = Array.from(probabilities.keys());
  return order.sort((one, other) => probabilities[other] - probabilities[one] || one - other).slice(0, count);
}

/** Return the confidence of each class: p^(1 / temperature), divided by the sum over all classes. */
function confidence(manifest, probabilities) {
  if (!manifest.confidence) return Array.from(probabilities);
  const { temperature } = manifest.confidence;
  const most = Math.max(TINY, ...probabilities);
  const powers = Array.from(probabilities, (one) => (Math.max(one, TINY) / most) ** (1 / temperature));
  const sum = powers.reduce((one, other) => one + other, 0);
  return powers.map((one) => one / sum);
}

/** Interpret a prediction for display: classes, best first, and whether it is rejected as unsure. */
function judge(manifest, probabilities) {
  const { threshold } = manifest.confidence ?? { threshold: 0 };
  const sure = confidence(manifest, probabilities);
  const classes = ranked(probabilities, Math.min(5, probabilities.length)).map((row) => ({
    label: manifest.labels[row], probability: probabilities[row], confidence: sure[row],
  }));
  return { classes, threshold, calibrated: Boolean(manifest.confidence), abstained: classes[0].confidence < threshold };
}
