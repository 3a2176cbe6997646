"use strict";
// The page: display predictions, and react when a photo is dropped, chosen, pasted or filmed.

const MOST_SEEN = 12; // pictures in the history

const at = (id) => document.getElementById(id);
const page = { files: null, manifest: null, model: null, opening: null, camera: null, shown: null, pace: new Pace(), said: -Infinity };

/** Return an element with attributes and children; a text is a child too. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Return a name that may break after an underscore, a slash, a dot or a hyphen, and nowhere in a word. */
const breakable = (name) => name.replace(/[_/.-](?=[^_/.-])/g, "$&\u200b");
/** Return a share in per cent with one decimal, and never 100.0% where it is less. */
const percent = (share) => (share >= 0.9995 && share < 1 ? "99.9%" : `${(100 * share).toFixed(1)}%`);
/** Return milliseconds for people: whole ones, but for very few. */
const short = (milliseconds) => milliseconds.toFixed(milliseconds < 2 ? 1 : 0);

function fillTexts() {
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", say(one.dataset.label));
}

/** Run `work`; display the reason of a failure, and keep the page usable. */
async function attempt(work) {
  at("problem").textContent = "";
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Problem)) console.error(error);
    at("problem").textContent = error instanceof Problem ? error.message : String(error);
    at("problem").scrollIntoView({ block: "nearest" });
    return undefined;
  }
}

function showFacts({ manifest, model }) {
  const one = model.artifact, { height, width } = manifest.input;
  const facts = [say("facts", { variant: one.variant, kib: Math.round(one.bytes / 1024), width, height, classes: manifest.labels.length })];
  if (standing(one)) facts.push(standingReason(one));
  else if (one.agreement !== null) facts.push(say("agreement", { agreement: percent(one.agreement), accuracy: percent(one.accuracy) }));
  if (manifest.synthetic) facts.push(say("synthetic"));
  at("seen-caption").textContent = say("seen", { width, height });
  at("facts").replaceChildren(...facts.map((fact) => make("li", {}, fact)));
}

async function useModel(variant) {
  document.body.dataset.state = "loading";
  at("headline").textContent = say("starting");
  const artifact = page.manifest.artifacts.find((one) => one.variant === variant);
  const opened = await Model.open(page.files, artifact, page.manifest);
  page.model?.close();
  page.model = opened;
  showFacts(page);
  at("before").hidden = false;
  at("headline").textContent = say("waiting");
  document.body.dataset.state = "ready";
  if (page.shown) await answer(page.shown);
}

/** Open another model of the bundle; where it cannot be opened, the one before stays. */
async function changeModel(variant) {
  try {
    await useModel(variant);
  } catch (error) {
    at("variants").value = page.model.artifact.variant;
    clearAnswer(say("noPrediction"));
    document.body.dataset.state = "ready";
    throw error;
  }
  await markExamples();
}

/** Preprocess an image and run the model; returns pixels, probabilities and durations. */
async function ask(source, columns, rows) {
  const { height, width } = page.manifest.input, started = performance.now();
  const pixels = await prepare(source, columns, rows, height, width), prepared = performance.now();
  const probabilities = await page.model.run(pixels), done = performance.now();
  return { pixels, probabilities, prepare: prepared - started, invoke: done - prepared };
}

/** Classify a photo's file and display it, with its correct `label` where that is known; `remember` adds it to the history. */
function show(blob, name, { label = "", remember = true } = {}) {
  return attempt(async () => {
    stopCamera();
    await page.opening; // a photo may be dropped before the model is there
    if (!page.model) throw new Problem(say("notOpened"));
    document.body.dataset.state = "busy";
    try {
      const deep = await isDeep(blob);
      if (deep && page.manifest.input.pixel_range?.length) throw new Problem(say("deepPixels", { name: name || "This" }));
      const shown = { blob, name, label, deep, bitmap: await decoded(blob, name) };
      page.shown?.bitmap.close();
      page.shown = shown;
      showPicture(blob);
      const judged = await answer(shown);
      if (remember) remembered(shown, judged);
    } catch (error) {
      clearAnswer(say("noPrediction"));
      throw error;
    } finally {
      document.body.dataset.state = "ready";
    }
  });
}

async function decoded(blob, name) {
  try {
    return await decode(blob);
  } catch (error) {
    console.debug(error);
    throw new Problem(say("wrongFile", { name: name || "This" }));
  }
}

async function answer(shown) {
  const found = await ask(shown.bitmap, shown.bitmap.width, shown.bitmap.height);
  // Of 12 bits in 16, next to nothing is left.
  if (shown.deep && found.pixels.every((value) => value < 64)) throw new Problem(say("deepPixels", { name: shown.name || "This" }));
  Object.assign(shown, found);
  at("said").textContent = "";
  page.said = -Infinity; // what was asked for is said at once
  const judged = showAnswer(found, shown.label);
  at("speed").textContent = say("speed", { prepare: short(found.prepare), invoke: short(found.invoke) });
  compareSides(shown); // which may take seconds at first, and tells its failure itself
  return judged;
}

function showPicture(blob) {
  URL.revokeObjectURL(at("picture").src);
  at("picture").src = URL.createObjectURL(blob);
  at("stage").dataset.shows = "picture";
}

/** Add a photo to the history, newest first. */
function remembered(shown, judged) {
  const { height, width } = page.manifest.input, [best] = judged.classes;
  const canvas = make("canvas", { "aria-hidden": "true" });
  paint(canvas, shown.pixels, height, width);
  const words = judged.abstained ? say("unsure") : best.label;
  const share = percent(best.confidence);
  const button = make("button", { type: "button", "aria-label": say("historyOf", { label: words, share }) }, canvas, make("span", {}, breakable(words)));
  button.addEventListener("click", () => show(shown.blob, shown.name, { label: shown.label, remember: false }));
  at("history").prepend(make("li", {}, button));
  while (at("history").children.length > MOST_SEEN) at("history").lastChild.remove();
  at("past").hidden = false;
}

/** Classify webcam frames until the webcam is stopped. */
function startCamera(id) {
  return attempt(async () => {
    stopCamera();
    await page.opening;
    if (!page.model) throw new Problem(say("notOpened"));
    const video = at("video"), camera = await Camera.start(video, id);
    page.camera = camera;
    page.pace = new Pace();
    at("stage").dataset.shows = "video";
    at("toggle").textContent = say("cameraOff");
    at("keep").hidden = false;
    hideSides();
    await listCameras(camera);
    camera.watch(async () => {
      const found = await ask(video, video.videoWidth, video.videoHeight);
      if (page.camera !== camera) return;
      page.pace.add(found.prepare, found.invoke);
      showAnswer(found);
      const { pace } = page;
      at("speed").textContent = say("rate", {
        rate: pace.rate.toFixed(0), prepare: short(pace.median("prepare")), invoke: short(pace.median("invoke")),
      });
    });
  });
}

async function listCameras(camera) {
  const all = await Camera.all();
  at("cameras").replaceChildren(...all.map((one, number) => make("option", { value: one.deviceId }, one.label || `${number + 1}`)));
  at("cameras").value = camera.id;
  at("cameras").hidden = all.length < 2;
}

function stopCamera() {
  if (!page.camera) return;
  page.camera.stop();
  page.camera = null;
  at("stage").dataset.shows = page.shown ? "picture" : "";
  at("toggle").textContent = say("cameraOn");
  at("keep").hidden = at("cameras").hidden = true;
}

function listen() {
  const stage = at("stage");
  at("file").addEventListener("change", (event) => takeFrom(event.target));
  at("photograph").addEventListener("change", (event) => takeFrom(event.target));
  at("toggle").addEventListener("click", () => (page.camera ? stopCamera() : startCamera("")));
  at("cameras").addEventListener("change", (event) => startCamera(event.target.value));
  at("variants").addEventListener("change", (event) => attempt(() => changeModel(event.target.value)));
  at("keep").addEventListener("click", async () => show(await page.camera.picture(), "webcam.png"));
  document.addEventListener("paste", (event) => takeFirst(event.clipboardData));
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      stage.classList.toggle("over", kind === "dragover");
      if (kind === "drop") takeFirst(event.dataTransfer);
    });
}

function takeFrom(input) {
  const [file] = input.files;
  input.value = ""; // so that the same file can be chosen again
  if (file) show(file, file.name);
}

function takeFirst(transfer) {
  const [file] = transfer?.files ?? [];
  if (file) show(file, file.name);
}

function listModels() {
  const usable = runnable(page.manifest).filter((one) => page.files.holds(one));
  if (!usable.length) throw new Problem(say("noModel"));
  at("variants").replaceChildren(...usable.map((one) => make("option", { value: one.variant }, one.variant)));
  at("choice").hidden = usable.length < 2;
  return usable[0].variant;
}

async function start() {
  if (takeKey()) return;
  fillTexts();
  listen();
  document.body.dataset.state = "loading";
  at("headline").textContent = say("starting");
  page.opening = attempt(openBundle);
  await page.opening;
  if (!page.model) {
    document.body.dataset.state = "failed";
    at("headline").textContent = "";
    return;
  }
  await attempt(async () => {
    await showExamples();
    await openSides();
    openFeedback();
    if (/self-test/.test(location.search + location.hash)) await selfTest();
    await markExamples();
  });
}

/** Read the bundle and open its best model. */
async function openBundle() {
  await openServer();
  page.files = openFiles();
  page.manifest = await page.files.manifest();
  showClasses(page.manifest);
  document.title = `${page.manifest.name} ${page.manifest.version}`;
  at("name").textContent = page.manifest.name;
  at("version").textContent = page.manifest.version;
  at("description").textContent = page.manifest.description;
  at("made").textContent = say("made", { version: page.manifest.tledge });
  at("privacy").textContent = say(SERVER ? "privacyServed" : "privacy");
  await useModel(listModels());
}

start();
