"use strict";
// Compare this browser with the values recorded when the bundle was made: add ?self-test to the page's address.

/** Run all checks and display them; data-self-test of the page's body becomes "passed" or "failed". */
async function selfTest() {
  at("testing").hidden = false;
  let failed = 0;
  try {
    if (!(page.files instanceof ServedFiles)) throw new Problem(say("testNowhere"));
    for await (const [passed, said] of checks(page.files, page.manifest)) {
      failed += !passed;
      at("checks").append(make("li", {}, `${passed ? "ok" : "WRONG"} ${said}`));
    }
  } catch (error) {
    failed += 1;
    at("checks").append(make("li", {}, `WRONG ${error.message}`));
  }
  at("test-verdict").textContent = say(failed ? "testFailed" : "testPassed");
  document.body.dataset.selfTest = failed ? "failed" : "passed";
}

async function* checks(files, manifest) {
  yield await checkSums(files);
  yield [manifest.golden.length > 0, say("testPhotos", { count: manifest.golden.length })];
  const { height, width } = manifest.input, recorded = readNpy(await files.bytes("golden/pixels.npy"));
  let off = 0;
  for (const one of manifest.golden) {
    const bitmap = await decoded(await files.photo(one.photo), one.photo);
    const mine = await prepare(bitmap, bitmap.width, bitmap.height, height, width);
    bitmap.close();
    const wanted = recorded.row(one.tensor);
    for (let place = 0; place < mine.length; place++) off = Math.max(off, Math.abs(mine[place] - wanted[place]));
  }
  yield [off <= 1, say("testPixels", { off })];
  for (const artifact of runnable(manifest)) yield* checkModel(files, manifest, artifact, recorded);
}

async function* checkModel(files, manifest, artifact, recorded) {
  const { variant } = artifact, ours = (one) => one.kernels === "xnnpack", answers = artifact.expected.find(ours);
  if (!answers) {
    yield [false, say("testNoAnswers", { variant, why: artifact.unsupported?.find(ours)?.reason ?? "" })];
    return;
  }
  const { path, tolerance } = answers, model = await Model.open(files, artifact, manifest);
  const wanted = readNpy(await files.bytes(path)), keras = readNpy(await files.bytes("golden/keras.npy"));
  let off = 0, same = 0, lost = 0;
  for (const one of manifest.golden) {
    const found = await model.run(Uint8Array.from(recorded.row(one.tensor))), then = wanted.row(one.tensor);
    for (let place = 0; place < found.length; place++) off = Math.max(off, Math.abs(found[place] - then[place]));
    const agrees = manifest.labels[ranked(found, 1)[0]] === one.keras, [first, second] = ranked(then, 2);
    same += agrees;
    const agreed = first === ranked(keras.row(one.tensor), 1)[0] && then[first] - then[second] > 2 * tolerance; // and is no tie
    lost += agreed && !agrees;
  }
  model.close();
  yield [off <= tolerance, say("testAnswers", { variant, off: off.toPrecision(2), allowed: tolerance.toPrecision(2) })];
  yield [lost === 0, say("testKeras", { variant, same, count: manifest.golden.length })];
}

async function checkSums(files) {
  if (!self.crypto?.subtle) return [true, say("testNoHash")];
  const lines = new TextDecoder().decode(await files.bytes("SHA256SUMS")).trimEnd().split("\n"), changed = [];
  for (const line of lines) {
    const [sum, name] = line.split("  ");
    if ((await hash(await files.bytes(name))) !== sum) changed.push(name);
  }
  return [lines.length > 0 && !changed.length, say("testFiles", { count: lines.length, changed: changed.join(", ") || "none" })];
}

/** Return the rows of an `.npy` of uint8 or float32. Throws a Problem for any other file. */
function readNpy(bytes) {
  const end = bytes.indexOf(10) + 1, header = new TextDecoder("latin1").decode(bytes.subarray(0, end));
  const found = header.match(/'descr': '(\|u1|<f4)', 'fortran_order': False, 'shape': \(([\d, ]+)\)/);
  if (!found) throw new Problem("golden/*.npy is damaged, or no array of uint8 or float32");
  const shape = found[2].split(",").filter((side) => side.trim()).map(Number);
  const values = found[1] === "|u1" ? bytes.subarray(end) : new Float32Array(bytes.slice(end).buffer);
  const length = shape.slice(1).reduce((one, other) => one * other, 1);
  if (values.length !== shape[0] * length) throw new Problem("golden/*.npy is damaged: of another length");
  return { row: (number) => values.subarray(number * length, (number + 1) * length) };
}
